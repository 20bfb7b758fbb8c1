"""Does the trainings of a study, several at a time; none that is finished again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from echofm_core.data.training_record import files_of_record
from echofm_core.live.record import LiveRun, ModelRecord
from echofm_core.models.saved import load_weights
from echofm_core.report.traffic import WAYS
from echofm_core.runtime.console import Meter, console, progress
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.files import keep_only, write_whole
from echofm_core.runtime.sessions import Sessions
from echofm_core.runtime.signals import thread_pool
from server.ending import FederationResult
from server.events import Event
from server.live_steps import LiveListener
from simulations.arm_predictions import predictions_of, validation_of
from simulations.arm_training import Training
from simulations.engine import Engine
from simulations.methods._api import Piece
from simulations.study.cells import Cell
from simulations.study.folder import DIVERGED, RESULT, finished

#: Of test patients, and of validation patients of the sites that trained.
PREDICTIONS, VALIDATION = "predictions.parquet", "validation.parquet"
#: What stays of a finished training: states and checkpoints are several models a site.
_KEPT = {
    *("journal", "model", "plan.toml", "sessions.json", "metrics.parquet", "evaluation.json"),
    *(PREDICTIONS, VALIDATION, RESULT),
}


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One training, and the part of the study that it belongs to.

    Attributes:
        trial: Whether it is of a setting that is tried.
        setting: Its values in words; empty: the plan's.
    """

    cell: Cell
    piece: Piece
    key: str
    trial: bool = False
    setting: str = ""

    @property
    def name(self) -> str:
        """As a watcher sees it: ``seed-1/fedprox``, behind a variation's folder, with a setting."""
        varied = self.cell.variation.folder
        name = f"{self.cell.folder.name}/{self.words}"
        return f"{varied}/{name}" if varied else name

    @property
    def words(self) -> str:
        """Its name within its part, e.g. ``fedprox (federation.proximal_mu = 0.1)``."""
        return self.piece.arm.name + (f" ({self.setting})" if self.setting else "")

    @property
    def place(self) -> Path:
        """Its folder."""
        return self.cell.place(self.piece)

    @property
    def done(self) -> bool:
        """Is nothing of it left to do?"""
        return finished(self.place) or self.lost

    @property
    def lost(self) -> bool:
        """Did it diverge, or what it would begin with?"""
        return self.cell.diverged(self.piece)

    @property
    def needs(self) -> tuple[Path, ...]:
        """Folder of the training whose weights it begins with, if any."""
        return (self.cell.place(self.piece.start),) if self.piece.start else ()

    @property
    def rounds(self) -> int:
        """Of all its phases."""
        return sum(self.piece.plan.rounds.values())


def jobs_of(cell: Cell) -> list[Job]:
    """The trainings of a part, each once and behind what it needs."""
    return [Job(cell, piece, key) for key, piece in cell.pieces().items()]


def do_all(
    jobs: Sequence[Job], live: LiveRun, sessions: Sessions, on_cell: Callable[[Cell], None]
) -> None:
    """Do what is left, the first that can be done first.

    The first that fails ends the others, but for one that diverges: that, and what would begin with
    it, are left out.

    Args:
        jobs: Each behind its needs.
        live, sessions: Of the study.
        on_cell: Called when all trainings of a part are done or lost, in any order of parts.
    """
    machine = jobs[0].cell.plan.machine
    # Variations share trainings: each is done for the first that needs it.
    first = {(job.cell.store, job.key): job for job in reversed(jobs)}
    jobs, every = [job for job in jobs if first[job.cell.store, job.key] is job], jobs
    left = [job for job in jobs if not job.done]
    with live.change() as record:
        record.models = {job.name: ModelRecord(left=job.piece.plan.rounds) for job in left}
    needed: dict[int, list[Job]] = {}
    for job in every:
        needed.setdefault(id(job.cell), []).append(job)
    with (
        Engine.of(machine) as engine,
        progress("training", sum(job.rounds for job in jobs)) as meter,
        thread_pool(machine.workers) as pool,
    ):
        meter.advance(sum(job.rounds for job in jobs if job not in left), note="found done")
        running: dict[Future[None], Job] = {}

        def conclude() -> None:
            for job in [job for job in left if job.lost]:
                left.remove(job)
                _leave_out(job, live, meter)
            done = [k for k, own in needed.items() if all(job.done for job in own)]
            for job, *_ in [needed.pop(key) for key in done]:
                on_cell(job.cell)

        conclude()
        while left or running:
            for job in list(islice(_ready(left), machine.workers - len(running))):
                left.remove(job)
                running[pool.submit(_do, job, engine, live, sessions, meter)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                running.pop(future)
            conclude()


def _ready(left: Sequence[Job]) -> Iterator[Job]:
    return (job for job in left if all(map(finished, job.needs)))


def _leave_out(job: Job, live: LiveRun, meter: Meter) -> None:
    """Take away what cannot begin."""
    with live.change() as record:
        record.models.pop(job.name, None)
    meter.advance(job.rounds)


def _do(job: Job, engine: Engine, live: LiveRun, sessions: Sessions, meter: Meter) -> None:
    """Train one, whose needs are finished."""
    place, piece = job.place, job.piece
    own, listener = Sessions(place), LiveListener(live, job.name)

    def show(event: Event) -> None:
        listener.event(event)
        meter.begin()  # the engine is there
        if event.round_done:
            own.tick()
            sessions.tick()
            meter.advance(1, note=job.name)
        if event.warnings:
            console.print(f"{job.name}: {event.line()}", markup=False)

    start = next(iter(job.needs), None)
    training = Training(
        job.cell.folder,
        piece.plan,
        job.cell.prepared,
        engine,
        resume=True,
        start=start,
        weights=load_weights(start) if start else {},
    )
    try:
        result = training.fit(piece.arm, piece.plan, place, show, listener.step)
    except FederationError as error:
        # Anything else is no fault of the method's: it ends the study, to be gone on with.
        if not error.diverged:
            raise
        what = "is not chosen" if job.trial else "is left out"
        console.print(f"{job.name}: does not train, and {what}: {error}", markup=False)
        write_whole(place / DIVERGED, str(error).encode())
        keep_only(place, {*_KEPT, *files_of_record(place), DIVERGED})
        with live.change() as record:
            record.models.pop(job.name, None)
        return
    rows = predictions_of(piece.arm, place, piece.plan)
    write_whole(place / PREDICTIONS, rows.to_parquet(index=False))
    held = validation_of(piece.arm, place, piece.plan)
    write_whole(place / VALIDATION, held.to_parquet(index=False))
    write_whole(place / RESULT, json.dumps(_result(job, result, own.tick()), indent=1).encode())
    keep_only(place, {*_KEPT, *files_of_record(place)})  # model, journal and numbers


def _result(job: Job, result: FederationResult, seconds: float) -> dict[str, object]:
    """What a training ended with; bytes are those of rounds that carry weights between sites."""
    sizes = result.metrics.loc[result.metrics["metric"].isin(WAYS), "value"]
    return {
        "arm": job.piece.arm.name,
        "key": job.key,
        "digest": result.digest,
        "bytes": int(sizes.sum()) if job.piece.exchanges else 0,
        "model_bytes": sum(array.nbytes for array in result.weights.values()),
        "notes": [*result.notes, *result.warnings],
        "seconds": seconds,
    }
