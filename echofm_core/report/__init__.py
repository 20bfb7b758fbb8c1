"""The self-contained HTML report of a run."""

from __future__ import annotations

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
    from echofm_core.pages.template import write_page
    from echofm_core.report.page import page_context
    from echofm_core.report.run_files import read_run

    context = page_context(read_run(run))
    return write_page(run / "report.html", "echofm_core.report", "report.html.j2", context)
