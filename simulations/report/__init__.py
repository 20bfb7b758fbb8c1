"""The self-contained HTML report of a run."""

from __future__ import annotations

import os
from pathlib import Path


def write_report(run: Path) -> Path:
    """Write ``report.html`` into a run folder, from the files of that folder alone.

    The page needs no network and no other file. Whatever is missing in the folder is said on the
    page instead.

    Args:
        run: The run folder.

    Returns:
        Path of the report; it appears whole or not at all.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from simulations.report.page import page_context
    from simulations.report.run_files import read_run

    environment = Environment(
        loader=PackageLoader("simulations.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("report.html.j2").render(page_context(read_run(run)))
    path = run / "report.html"
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(html, encoding="utf-8")
    partial.replace(path)
    return path
