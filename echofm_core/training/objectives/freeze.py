"""Which parameter groups a round may change."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from torch import nn

from echofm_core.contract import ENCODER, HEADS, LORA_A, LORA_B, STF_NET, group_of
from echofm_core.models.weights import named_weights
from echofm_core.tasks import Task
from echofm_core.training.config import FinetuneConfig, TuneMode

#: Groups below the heads that each mode trains.
TRUNK = {
    TuneMode.LINEAR: (),
    TuneMode.STF_PROBE: (STF_NET,),
    TuneMode.LORA: (LORA_A, LORA_B, STF_NET),
    TuneMode.FULL: (ENCODER, STF_NET),
}


def trunk_of(config: FinetuneConfig) -> tuple[str, ...]:
    """Groups below the heads that fine-tuning changes."""
    fixed = LORA_A if config.lora.freeze_a else None
    return tuple(group for group in TRUNK[config.mode] if group != fixed)


def frozen_groups(config: FinetuneConfig) -> frozenset[str]:
    """Groups below the heads that no site's fine-tuning changes."""
    return frozenset({ENCODER, LORA_A, LORA_B, STF_NET}) - set(trunk_of(config))


def finetuned_groups(config: FinetuneConfig, labelled: Collection[Task]) -> tuple[str, ...]:
    """Groups that fine-tuning changes: the mode's trunk, and the heads that have labels here."""
    return (*trunk_of(config), *(f"{HEADS}.{task.value}" for task in labelled))


@contextmanager
def only_trainable(model: nn.Module, groups: Collection[str]) -> Iterator[None]:
    """Freeze everything but ``groups`` within the block; afterwards all is as it was.

    A frozen parameter has no gradient, takes no weight decay and no proximal pull.
    """
    named = named_weights(model)
    before = {name: item.requires_grad for name, item in named.items()}
    try:
        for name, item in named.items():
            item.requires_grad_(group_of(name) in groups)
        yield
    finally:
        for name, item in named.items():
            item.requires_grad_(before[name])
            item.grad = None
