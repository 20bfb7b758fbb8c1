"""From a template to a self-contained page, and its pictures."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from echofm_core.runtime.files import write_whole

if TYPE_CHECKING:
    from PIL import Image

#: Scripts of every page.
SCRIPTS = ("sort.js", "hover.js", "print.js")


def write_page(path: Path, package: str, template: str, context: Mapping[str, object]) -> Path:
    """Render a template into a file that appears whole or not at all.

    Args:
        path: HTML file to write.
        package: Package that the template lies in. It may also name what lies beside this module:
            ``base.html.j2`` (the frame, with its style and scripts) and ``macros.html.j2``. The
            page loads nothing, and of scripts only these run.
        template: File name of the template.
        context: What the template names; a name that is not there is an error. Values are escaped.

    Returns:
        The path.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader(__package__, ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "".join(files(__package__).joinpath(name).read_text("utf-8") for name in SCRIPTS)
    frame = {"script": script, "policy": _policy(script)}
    html = environment.get_template(template).render({**context, **frame})
    return write_whole(path, html.encode("utf-8", errors="backslashreplace"))


def _policy(script: str) -> str:
    """What a browser lets the page do: show its pictures and style, run this script alone."""
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{known}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file; the hardest packing takes three times as long for one percent."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
