"""Options of every command that watches."""

from typing import Annotated

import typer

WebOption = Annotated[
    bool, typer.Option("--web", help="Serve a page on 127.0.0.1, and print its address.")
]
PortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="Port of the page; default: any that is free.")
]
