"""Which parameter groups a round may change."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from torch import nn

from echofm_core.contract import ENCODER, HEADS, STF_NET, group_of
from echofm_core.tasks import Task
from echofm_core.training.config import TuneMode

#: Groups below the heads that each mode trains.
TRUNK = {
    TuneMode.LINEAR: (),
    TuneMode.STF_PROBE: (STF_NET,),
    TuneMode.FULL: (ENCODER, STF_NET),
}


def finetuned_groups(mode: TuneMode, labelled: Collection[Task]) -> tuple[str, ...]:
    """Groups that fine-tuning changes: the mode's trunk, and the heads that have labels here."""
    return (*TRUNK[mode], *(f"{HEADS}.{task.value}" for task in labelled))


@contextmanager
def only_trainable(model: nn.Module, groups: Collection[str]) -> Iterator[None]:
    """Freeze everything but ``groups`` within the block; afterwards all is as it was.

    A frozen parameter has no gradient, takes no weight decay and no proximal pull.
    """
    before = {name: item.requires_grad for name, item in model.named_parameters()}
    try:
        for name, item in model.named_parameters():
            item.requires_grad_(group_of(name) in groups)
        yield
    finally:
        for name, item in model.named_parameters():
            item.requires_grad_(before[name])
            item.grad = None
