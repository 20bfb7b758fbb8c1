"""The ``[personal]`` table: what of a model is a site's own. Apart from what does it.

All of it is of fine-tuning: pre-training has one task, which all sites share.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from echofm_core.plan.section import Section
from echofm_core.runtime.text import many
from echofm_core.training.config import FinetuneConfig, TuneMode


class LocalGroup(StrEnum):
    """Parameters that may stay at a site."""

    HEADS = "heads"
    STF_NET = "stf_net"
    NORMS = "norms"


class LastGroups(StrEnum):
    """What a last local step trains."""

    HEADS = "heads"
    STF_NET = "stf_net"
    ALL = "all"


#: The mode of fine-tuning that trains these groups.
LAST_MODES = {
    LastGroups.HEADS: TuneMode.LINEAR,
    LastGroups.STF_NET: TuneMode.STF_PROBE,
    LastGroups.ALL: TuneMode.FULL,
}


class PersonalConfig(Section):
    """The ``[personal]`` table: fine-tuning of models that differ between sites."""

    later: ClassVar = frozenset({"lora_rank"})

    groups: tuple[LocalGroup, ...] = ()
    """Parameters that stay at a site, which is tested with its own: ``heads``; ``stf_net``;
    ``norms``, the layer norms of encoder and STF-Net (FedBN, Li 2021). ``["heads", "stf_net"]`` is
    FedPer (Arivazhagan 2019): only the encoder is averaged. All sites start from the same ones."""
    lora_rank: int = Field(default=0, ge=0, le=256)
    """Rank of a second, local adapter (LoRA) beside each federated one, with the same ``alpha``:
    what both add is summed, both train at once, and the local one never leaves the site, which is
    tested with it (Med-DualLoRA, Perramon-Llussa 2026). For ``finetune.mode = "lora"``. 0: none."""
    alternate_steps: int = Field(default=0, ge=0, le=1_000_000)
    """FedRep (Collins 2021): so many of ``finetune.local_steps``, the first of each round, train
    ``groups`` alone, the others train the rest alone. 0: all steps train all."""
    share_final: bool = False
    """Each site sends ``groups`` once, after the last round: their mean is in the shipped model,
    and at sites that did not train them. false: they never leave, and there what training began
    with is in their place."""
    ditto: float = Field(default=0.0, ge=0, le=1e6)
    """Ditto (Li 2021): lambda of ditto / 2 * ||v - w||^2, by which a personal model v is held near
    the global weights w of the round. Each site trains one beside its part of the global model,
    with as many steps of its own, keeps it and is tested with both. 0: none."""
    last_steps: int = Field(default=0, ge=0, le=1_000_000)
    """Steps by which each site that trained fine-tunes the shipped model on its own training
    patients before it is tested, with and without them. 0: none."""
    last_groups: LastGroups = LastGroups.HEADS
    """What these steps train: ``heads``; ``stf_net``, with the heads; ``all``."""
    last_learning_rate: float = Field(default=1e-4, gt=0, le=10)
    """Their peak rate, without warm-up; it falls to zero with the last step."""


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
    if private and (asked := _without_noise(personal)):
        return (
            f'{asked}, but privacy.kind is "local": its steps have no noise, and scores would tell '
            "of the patients; set it to 0"
        )
    return (
        _adapter_fault(personal, finetune, best=best)
        or _groups_fault(personal, finetune, best=best)
        or _alternation_fault(personal, finetune)
        or _ditto_fault(personal, finetune)
    )


def personal_notes(personal: PersonalConfig) -> list[str]:
    """What a reader of a table must know of a model that is not the same at all sites."""
    kept, notes = ", ".join(personal.groups), []
    if kept and personal.share_final:
        notes.append(
            f"A site is tested with parameters of its own ({kept}). The model in the run's folder, "
            "and a site that did not train, have the mean of the sites', sent once at the end."
        )
    elif kept:
        notes.append(
            f"A site is tested with parameters of its own ({kept}), which never left it. The model "
            "in the run's folder, and a site that did not train, have those that training began "
            "with: their scores there are not those of a trained model."
        )
    if personal.lora_rank:
        notes.append(
            f"A site is tested with a local adapter of rank {personal.lora_rank}, which never left "
            "it, beside the federated one. The model in the run's folder, and a site that did not "
            "train, have the federated one alone."
        )
    if personal.ditto:
        notes.append(
            f"The personal model (Ditto, lambda {personal.ditto:g}) is another one at each site, "
            "trained there with as many steps as the federated one, and never sent."
        )
    if personal.last_steps:
        notes.append(
            f"The last step is {many(personal.last_steps, 'step')} on the site's own training "
            f"patients ({personal.last_groups}) from the shipped model, at sites that trained; the "
            "result is another model at each site, and never sent."
        )
    return notes


def _adapter_fault(personal: PersonalConfig, finetune: FinetuneConfig, *, best: bool) -> str:
    if not (rank := personal.lora_rank):
        return ""
    if finetune.mode is not TuneMode.LORA:
        return (
            f"personal.lora_rank is {rank}, a second adapter beside the federated one, but "
            f'finetune.mode is {finetune.mode}: set it to "lora", or lora_rank to 0'
        )
    if personal.share_final:
        return (
            f"personal.lora_rank is {rank}, an adapter that never leaves its site, but "
            "personal.share_final is true: set one of them otherwise"
        )
    if best:
        return (
            'federation.select = "best" may ship an earlier round, but a site keeps its local '
            'adapter (personal.lora_rank) of the last rounds alone: set it to "last"'
        )
    return ""


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
    if personal.share_final and not groups:
        return "personal.share_final is true, but personal.groups names none: set it to false"
    if groups and best:
        return (
            'federation.select = "best" may ship an earlier round, but a site keeps its own groups '
            '(personal.groups) of the last rounds alone: set it to "last"'
        )
    return ""


def _without_noise(personal: PersonalConfig) -> str:
    """The first key whose training differential privacy does not cover."""
    for key in ("alternate_steps", "ditto", "last_steps"):
        if value := getattr(personal, key):
            return f"personal.{key} is {value:g}"
    return ""


def _ditto_fault(personal: PersonalConfig, finetune: FinetuneConfig) -> str:
    if personal.ditto and personal.groups:
        return (
            f"personal.ditto is {personal.ditto:g}, which is a whole personal model, but "
            f"personal.groups is {', '.join(personal.groups)}: choose one of them"
        )
    if personal.ditto and finetune.mode is TuneMode.LORA:
        return (
            f"personal.ditto is {personal.ditto:g}, but finetune.mode is lora: adapters of a "
            "personal model are not kept; choose full or stf_probe"
        )
    return ""


def _alternation_fault(personal: PersonalConfig, finetune: FinetuneConfig) -> str:
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
    return ""
