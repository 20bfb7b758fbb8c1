"""A round in a process of its own, to be killed: ``killed.py FOLDER STATE PHASE WINDOWS``.

``FOLDER`` is what :func:`tests.training.site.make_site` wrote into. The process kills itself when
it is asked for one window more than ``WINDOWS``; with 0 it goes to the end and prints the digest.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from echofm_core.contract import DECODER, ENCODER, HEADS, STF_NET, Phase
from echofm_core.data.formats.timeline import Pick
from echofm_core.data.windows import ClipWindows, Window
from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.models.weights import to_arrays
from echofm_core.runtime.checksum import digest
from echofm_core.training.augmentation import AugmentationConfig
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.objectives.pretrain import pretrain_round
from echofm_core.training.steps.job import RoundReport
from tests.training.site import PLAN, context, make_site

#: Everything that a round carries from step to step, and what draws at random in it.
OPTIONS = {
    "batch_size": 5,
    "local_epochs": 2,
    "ema": 0.9,
    "keep_optimizer": True,
    "layer_decay": 0.8,
    "augment": True,
    "augmentation": AugmentationConfig(speckle=1.0, flip=0.5),
}
PRETRAIN = PLAN.pretrain.model_copy(update=OPTIONS)
FINETUNE = PLAN.finetune.model_copy(update={**OPTIONS, "drop_path": 0.3})


class MortalWindows(ClipWindows):
    """Windows of a site that dies after so many.

    Args:
        clips: Living ones.
        after: Windows that it still serves.
        die: What happens then.
    """

    def __init__(self, clips: ClipWindows, after: int, die: Callable[[], None]) -> None:
        self.__dict__.update(vars(clips))
        self.left = after
        self.die = die
        self.served = 0

    def cut(self, index: int, pick: Pick) -> Window:
        if self.served == self.left:
            self.die()
        self.served += 1
        return super().cut(index, pick)


def run(
    phase: Phase,
    clips: ClipWindows,
    state: Path,
    save_every: int,
    round_: int = 1,
    local_steps: int = 0,
) -> tuple[str, RoundReport]:
    """Do a round; digest of the weights, and the report."""
    machine = {"accumulate": 2, "save_every": save_every}
    where = context(state=state, proximal_mu=0.1, round=round_, **machine)
    change = {"local_steps": local_steps}
    if phase is Phase.PRETRAIN:
        model = build_autoencoder(PLAN)
        report = pretrain_round(model, clips, PRETRAIN.model_copy(update=change), where)
        return digest(to_arrays(model, [ENCODER, DECODER])), report
    model = build_echo_model(PLAN)
    report = finetune_round(model, clips, FINETUNE.model_copy(update=change), where)
    return digest(to_arrays(model, [ENCODER, STF_NET, HEADS])), report


def main(folder: Path, state: Path, phase: Phase, windows: int) -> None:
    """See above."""
    torch.set_num_threads(1)
    clips = make_site(folder)
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)
    found, _ = run(phase, MortalWindows(clips, windows, die) if windows else clips, state, 2)
    print(found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Phase(sys.argv[3]), int(sys.argv[4]))
