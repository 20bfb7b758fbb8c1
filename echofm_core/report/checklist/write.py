"""Checklists with the answers of a run: tables for its page, and ``checklist.md``."""

from pathlib import Path

import pandas as pd

from echofm_core.pages.grid import Grid
from echofm_core.report.calibration import calibration_table
from echofm_core.report.checklist.claim import CLAIM
from echofm_core.report.checklist.facts import Facts, facts_of
from echofm_core.report.checklist.item import BLANK, Answer, Checklist
from echofm_core.report.checklist.tripod import TRIPOD_AI
from echofm_core.report.run_files import RunFiles
from echofm_core.report.subgroups import subgroup_table
from echofm_core.report.tables import pipe_table
from echofm_core.runtime.files import write_whole

FILE = "checklist.md"
CHECKLISTS = (CLAIM, TRIPOD_AI)
COLUMNS = ("item", "asks for", "answer of this run")


def checklist_grids(facts: Facts) -> dict[str, Grid]:
    """Title of each checklist, with how many items have an answer -> its table."""
    return {_title(item, rows): _grid(rows) for item in CHECKLISTS for rows in [_rows(item, facts)]}


def write_checklist(run: RunFiles, folder: Path) -> Path:
    """Write ``checklist.md``: what a run answers, blanks for the rest.

    Args:
        run: Files of a run folder.
        folder: Made where it is missing.

    Returns:
        The file; it appears whole or not at all.
    """
    facts = facts_of(run, calibration_table(run), subgroup_table(run))
    parts = [
        f"# Reporting checklists: {run.summary.get('name', run.folder.name)}",
        *(["**SIMULATED data (phantoms). Nothing here is of patients.**"] * facts.synthetic),
        "Answers are made of the run's files alone. Items are in our words: take the wording from "
        f'the papers. "{BLANK}" stands where a run says nothing.',
    ]
    for checklist in CHECKLISTS:
        rows = _rows(checklist, facts)
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        parts += [f"## {_title(checklist, rows)}", checklist.source, pipe_table(table)]
    path = folder / FILE
    write_whole(path, ("\n\n".join(parts) + "\n").encode())
    return path


def _rows(checklist: Checklist, facts: Facts) -> list[tuple[str, str, str]]:
    """Of each item its number, what it asks for, and an answer, which stands in full once."""
    rows, given = list[tuple[str, str, str]](), dict[Answer, str]()
    for item in checklist.items:
        rows.append((item.number, item.asks, item.answer(facts, given)))
        given = {**dict.fromkeys(item.answers, item.number), **given}
    return rows


def _title(checklist: Checklist, rows: list[tuple[str, str, str]]) -> str:
    answered = sum(answer != BLANK for *_, answer in rows)
    return f"{checklist.name}: {answered} of {len(rows)} items with an answer"


def _grid(rows: list[tuple[str, str, str]]) -> Grid:
    return Grid(columns=COLUMNS, rows=tuple(rows))
