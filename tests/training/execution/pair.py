"""One of two real processes that share rounds over gloo: ``pair.py FOLDER RANK``.

``FOLDER`` holds a job folder a phase, written by the test. What each process found goes to
``found-RANK.json``, and what a round gave into its job folder.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed as dist
from torch import nn

from echofm_core.contract import Phase
from echofm_core.models.weights import all_arrays
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import TrainingError
from echofm_core.training.execution.job_folder import JobFolder
from echofm_core.training.execution.ranks import Ranks
from echofm_core.training.execution.worker import join
from echofm_core.training.objectives.phases import own_round
from echofm_core.training.steps.loop import train
from tests.training.killed import MortalWindows
from tests.training.site import context
from tests.training.steps.test_loop import PLAIN, job

#: Losses are these times the weight; NaN is in some batch of some process.
FACTORS = [1.0, float("nan"), 3.0, 2.0, 5.0, 0.5]


class KilledError(Exception):
    """Stands for the end of both processes in the same step."""


def die() -> None:
    raise KilledError


def by_hand(ranks: Ranks) -> list[float | None]:
    """Gradients of two weights, of which the second takes part in rank 1 only, and of a third."""
    factors = torch.tensor([1.0, 2.0, 6.0])
    own = ranks.share(3)
    weights = [nn.Parameter(torch.ones(())) for _ in range(3)]
    (weights[0] * factors[own] / 3).sum().backward()
    if ranks.rank == 1:
        (weights[1] * 7).backward()
    assert ranks.sum_gradients(weights, usable=True)
    return [None if item.grad is None else item.grad.item() for item in weights]


def slopes(ranks: Ranks, batch_size: int) -> tuple[float, dict[str, float]]:
    """Weight and metrics after a round with a broken clip."""
    config = PLAIN.model_copy(update={"batch_size": batch_size, "local_epochs": 2})
    work = job(FACTORS, config, context(ranks=ranks))
    metrics = train(work)
    return work.model.weight.item(), metrics


def gives_up(ranks: Ranks) -> str:
    """The sentence of a round that skips too much: three clips of which one process has two."""
    config = PLAIN.model_copy(update={"batch_size": 3, "max_skipped_steps": 0})
    try:
        train(job([1.0, 1.0, float("nan")], config, context(ranks=ranks)))
    except TrainingError as error:
        return str(error)
    return "went on"


def shared(folder: JobFolder, ranks: Ranks) -> str:
    """A whole round, then one that is killed in its fourth step and gone on with: one digest."""
    model, clips, plan, where = folder.read_job(ranks)
    report = own_round(model, clips, plan, where)
    whole = digest(all_arrays(model))
    if ranks.first:
        folder.write_result(model, report)
    where = replace(where, state=folder.path / "killed")
    for left in (3 * len(range(*ranks.share(5).indices(5))), -1):
        model, clips, plan, _ = folder.read_job(ranks)
        try:
            again = own_round(model, MortalWindows(clips, left, die), plan, where)
        except KilledError:
            dist.barrier()
    assert again == report, "the metrics of an interrupted round are others"
    assert digest(all_arrays(model)) == whole, "an interrupted round ends elsewhere"
    return whole


def main(path: Path, rank: int) -> None:
    """See above."""
    folders = {phase: JobFolder(path / phase) for phase in Phase}
    ranks = join(folders[Phase.PRETRAIN], folders[Phase.PRETRAIN].terms(), rank)
    found = {
        "by hand": by_hand(ranks),
        "slopes": [slopes(ranks, batch_size) for batch_size in (1, 2, 3, 6)],
        "gives up": gives_up(ranks),
        "digests": [shared(folder, ranks) for folder in folders.values()],
    }
    (path / f"found-{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
