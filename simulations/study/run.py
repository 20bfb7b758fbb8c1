"""A whole study: protocols x methods x seeds, in one folder that can be gone on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echofm_core.live.record import live_run
from echofm_core.plan.document import Plan
from echofm_core.plan.preflight import preflight_notes, require_machine
from echofm_core.run_claim import STUDY, held
from echofm_core.runtime.console import console
from echofm_core.runtime.sessions import Sessions
from echofm_core.runtime.text import listed
from simulations.engine import Engine
from simulations.prepare import save_sites
from simulations.ray_cluster import require_cluster
from simulations.study.candidates import check_tuning
from simulations.study.cell_outcome import conclude_cell
from simulations.study.cells import Cell, cells, study_of
from simulations.study.diverged import without_diverged
from simulations.study.few_shot import save_shots
from simulations.study.folder import claim_study, look_study, read_study
from simulations.study.outcome import conclude_study
from simulations.study.published import check_published
from simulations.study.published_sites import check_published_sites
from simulations.study.tuning import forget_tuning, tune
from simulations.study.work import do_all, jobs_of


def run_study(plan: Plan, folder: Path, *, resume: bool = False) -> Path:
    """Train and test all that a study asks for, and report; each training is done once.

    The folder is new, or that of an interrupted study of the same plan, with ``resume``; its
    methods, seeds and protocols may have changed, and whether it tunes.

    Returns:
        The report.

    Raises:
        ResumeError: The folder holds something else, or a study and ``resume`` is not given.
        EchoFMError: Anything that the plan, the data or a round can get wrong.
    """
    sessions = Sessions(folder)
    look_study(folder, plan, resume=resume)
    check_published(plan)
    check_tuning(plan)
    require_machine(plan.machine, plan.finetune)
    require_cluster(plan.machine)
    Engine.announce(plan.machine)
    for note in preflight_notes(plan):
        console.print(f"warning: {note}", markup=False)
    parts = list(cells(plan, folder))
    # Tables have the sites of the first seed.
    first = [cell for cell in parts if cell.plan.seed == plan.seed]
    check_published_sites(plan, [(cell.plan, cell.prepared.manifest) for cell in first])
    kept = read_study(folder) if (folder / STUDY).exists() else {}
    for note in (*less_notes(kept, plan), *dict.fromkeys(n for c in parts for n in c.notes)):
        console.print(f"note: {note}", markup=False)
    with held(folder), live_run(folder, plan.rounds) as live:
        claim_study(folder, plan, words_of(plan, parts, folder))
        for cell in parts:
            save_sites(cell.prepared, cell.plan, cell.folder)
        live.expect(quarantined=parts[0].prepared.findings.quarantined)
        if plan.study.tune:
            parts = tune(parts, live, sessions)
            claim_study(folder, plan, words_of(plan, parts, folder))
        else:
            forget_tuning(parts)
        for cell in parts:
            save_shots(cell.shots, cell.prepared.manifest, cell.folder)
        jobs = [job for cell in parts for job in jobs_of(cell)]
        do_all(jobs, live, sessions, _conclude_whole)
        left = without_diverged(parts)
        for before, cell in zip(parts, left, strict=True):
            if cell is not before:
                for note in cell.notes[len(before.notes) :]:
                    console.print(f"note: {note}", markup=False)
                conclude_cell(cell)
        parts = left
        live.say("writing the report of the study")
        conclude_study(folder, parts)
        sessions.tick()
    return folder / "report.html"


def _conclude_whole(cell: Cell) -> None:
    """Conclude a part; one of which a training diverged waits for the other seeds."""
    if not any(map(cell.diverged, cell.pieces().values())):
        conclude_cell(cell)


def less_notes(before: Mapping[str, Any], plan: Plan) -> list[str]:
    """A sentence where a study that is gone on with has fewer seeds, methods or protocols.

    Args:
        before: What its ``study.json`` says; empty for a new one.
    """
    study = study_of(plan)
    now: Mapping[str, Sequence[object]] = {
        "seeds": [plan.seed + number for number in range(study.seeds)],
        "methods": study.methods,
        "protocols": [protocol.value for protocol in study.protocols],
    }
    return [
        f"{name} of before that the tables have no more: {listed(map(str, gone))}; what was "
        "trained for them is kept."
        for name, own in now.items()
        if (gone := [one for one in before.get(name, []) if one not in own])
    ]


def words_of(plan: Plan, parts: Sequence[Cell], folder: Path) -> dict[str, object]:
    """What ``study.json`` says of a study: what it is, and the key of each training."""
    study = study_of(plan)
    return {
        "name": plan.name,
        "seeds": [plan.seed + number for number in range(study.seeds)],
        "methods": list(study.methods),
        "protocols": [protocol.value for protocol in study.protocols],
        "resplit": study.resplit,
        "tune": study.tune,
        "places": list(
            dict.fromkeys(cell.folder.parent.relative_to(folder).as_posix() for cell in parts)
        ),
        "keys": {
            cell.folder.relative_to(folder).as_posix(): {
                method.name: {piece.arm.name: piece.key(cell.data) for piece in pieces}
                for method, pieces in cell.methods
            }
            for cell in parts
        },
    }
