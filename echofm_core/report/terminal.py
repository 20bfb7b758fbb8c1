"""What a run says, for a terminal."""

from __future__ import annotations

from rich.console import Console

from echofm_core.evaluation.published import published_convention
from echofm_core.evaluation.tables import print_site_by_model
from echofm_core.plan.document import Plan
from echofm_core.report.run_files import RunFiles
from echofm_core.report.words import words_of


def print_run(run: RunFiles, console: Console) -> None:
    """Print the tables of a run folder and their verdict, in the words of its page."""
    plan, words = run.plan or Plan(), words_of(run)
    sites = sorted({str(site) for site in run.sites["site"]})
    print_site_by_model(run.scores, console, sites, plan.evaluation.min_patients)
    for note in words.table_notes:
        console.print(f"note: {note}", markup=False)
    for line in words.sentences:
        console.print(f"- {line}", markup=False)
    for line in (*words.sure, *published_convention(run.scores)):
        console.print(line, style="dim", markup=False)
