"""The ``[personal]`` table: what of a model is a site's own. Apart from what does it.

All of it is of fine-tuning: pre-training has one task, which all sites share.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from echofm_core.plan.section import Section
from echofm_core.training.config import FinetuneConfig, TuneMode


class LocalGroup(StrEnum):
    """Parameters that may stay at a site."""

    HEADS = "heads"
    STF_NET = "stf_net"
    NORMS = "norms"


class PersonalConfig(Section):
    """The ``[personal]`` table: fine-tuning of models that differ between sites."""

    groups: tuple[LocalGroup, ...] = ()
    """Parameters that stay at a site, which is tested with its own: ``heads``; ``stf_net``;
    ``norms``, the layer norms of encoder and STF-Net (FedBN, Li 2021). ``["heads", "stf_net"]`` is
    FedPer (Arivazhagan 2019): only the encoder is averaged. All sites start from the same ones."""
    alternate_steps: int = Field(default=0, ge=0, le=1_000_000)
    """FedRep (Collins 2021): so many of ``finetune.local_steps``, the first of each round, train
    ``groups`` alone, the others train the rest alone. 0: all steps train all."""


def personal_fault(
    personal: PersonalConfig, finetune: FinetuneConfig, *, private: bool, best: bool
) -> str:
    """Why this table cannot be had; "" where it can.

    Args:
        private: Whether sites train under differential privacy.
        best: Whether the best round is shipped, in place of the last.
    """
    if personal == PersonalConfig():
        return ""
    if not finetune.rounds:
        return "[personal] is of fine-tuning, but finetune.rounds is 0: take the table out"
    return _groups_fault(personal, finetune, best=best) or _alternation_fault(
        personal, finetune, private=private
    )


def personal_notes(personal: PersonalConfig) -> list[str]:
    """What a reader of a table must know of a model that is not the same at all sites."""
    if not personal.groups:
        return []
    kept = ", ".join(personal.groups)
    return [
        f"A site is tested with parameters of its own ({kept}), which never left it. The model in "
        "the run's folder, and a site that did not train, have those that training began with: "
        "their scores there are not those of a trained model."
    ]


def _groups_fault(personal: PersonalConfig, finetune: FinetuneConfig, *, best: bool) -> str:
    groups, mode = set(personal.groups), finetune.mode
    if groups - {LocalGroup.HEADS} and mode is TuneMode.LINEAR:
        return (
            'finetune.mode = "linear" trains heads alone, but personal.groups is '
            f"{', '.join(personal.groups)}: choose another mode, or no such group"
        )
    trained = {LocalGroup.HEADS} if mode is TuneMode.LINEAR else {*LocalGroup} - {LocalGroup.NORMS}
    if mode in (TuneMode.LINEAR, TuneMode.STF_PROBE) and trained <= groups:
        return (
            f'all that finetune.mode = "{mode}" trains stays at the sites (personal.groups): '
            "there is nothing left to average"
        )
    if groups and best:
        return (
            'federation.select = "best" may ship an earlier round, but a site keeps its own groups '
            '(personal.groups) of the last rounds alone: set it to "last"'
        )
    return ""


def _alternation_fault(personal: PersonalConfig, finetune: FinetuneConfig, *, private: bool) -> str:
    steps = personal.alternate_steps
    if not steps:
        return ""
    if not personal.groups:
        return f"personal.alternate_steps is {steps}, but personal.groups names none to begin with"
    if steps >= finetune.local_steps:
        return (
            f"personal.alternate_steps is {steps}, but finetune.local_steps is "
            f"{finetune.local_steps}: it should be more, so that the rest is trained too"
        )
    if private:
        return (
            f'personal.alternate_steps is {steps}, but privacy.kind is "local", whose steps train '
            "all at once: set it to 0"
        )
    return ""
