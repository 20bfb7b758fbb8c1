"""The settings that a study tries of a method (``study.tune``): as many of each method.

The plan's own values come first, then what the method itself names
(:meth:`simulations.methods._api.Method.tried`), then learning rates of fine-tuning, which every
method has. No setting counts twice: two that give the same trainings are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from echofm_core.plan.document import Plan
from echofm_core.plan.study import MOST_TUNED
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.errors import PlanError
from simulations.methods import methods_named
from simulations.methods._api import Method, Piece, Setting, Values
from simulations.study.cells import study_of
from simulations.study.variations import variations

LEARNING_RATE = "finetune.learning_rate"
#: From one learning rate that is tried to the next one, down and up from the plan's.
STEP = 3.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A setting of a method.

    Attributes:
        values: In place of the plan's; empty: the plan as it is.
        pieces: The method's trainings by it.
    """

    values: Values
    pieces: tuple[Piece, ...]


def check_tuning(plan: Plan) -> None:
    """Refuse what a study cannot tune.

    Raises:
        PlanError: It varies what is tuned, or trains under differential privacy, or no labels, in
            some variation.
    """
    if not plan.study.tune:
        return
    methods = methods_named(study_of(plan).methods)
    tried = {LEARNING_RATE}.union(*(own for one in methods for own in one.tried(plan)))
    for table, values in plan.study.vary.items():
        keys = {
            table,
            *(f"{table}.{key}" for one in values if isinstance(one, dict) for key in one),
        }
        if same := sorted(keys & tried):
            raise PlanError(
                f"study.vary has {same[0]}, and study.tune = {plan.study.tune} chooses it: a row "
                "would not have the value that it names; leave one of them out."
            )
    for variation in variations(plan):
        here = variation.of(plan)
        if here.privacy.kind is not PrivacyKind.NONE:
            raise PlanError(
                f"study.tune is {plan.study.tune}, but privacy.kind is {here.privacy.kind}: each "
                "setting trains on the same patients and spends privacy, which a study does not "
                'add up; set study.tune = 0, or privacy.kind = "none".'
            )
        if not here.finetune.rounds:
            raise PlanError(
                f"study.tune is {plan.study.tune}, but finetune.rounds is 0: what is tuned is "
                "fine-tuning; set study.tune = 0."
            )


def candidates(method: Method, setting: Setting, count: int) -> list[Candidate]:
    """The first ``count`` settings of a method; a value that goes with no such plan is left out.

    Args:
        setting: Of the plan; its ``values`` are not read.
        count: From 1 to :data:`~echofm_core.plan.study.MOST_TUNED`.

    Raises:
        PlanError: The method cannot be had with the plan's own values.
    """
    plan, found = setting.plan, dict[tuple[str, ...], Candidate]()
    own: Values = {}
    for values in chain([own], method.tried(plan), learning_rates(plan.finetune.learning_rate)):
        if len(found) == count:
            break
        try:
            pieces = tuple(method.pieces(replace(setting, values=values)))
        except PlanError:
            if values is own:
                raise
            continue
        found.setdefault(tuple(piece.key("") for piece in pieces), Candidate(values, pieces))
    return list(found.values())


def learning_rates(own: float) -> Iterator[Values]:
    """Rates around the plan's, to two digits: a third of it, three times it, a ninth, ..."""
    for power in range(1, MOST_TUNED):
        for factor in (STEP**-power, STEP**power):
            yield {LEARNING_RATE: float(f"{own * factor:.2g}")}


def keys_tried(found: Sequence[Candidate]) -> list[str]:
    """Keys in which some setting differs from the plan, each once."""
    return list(dict.fromkeys(key for candidate in found for key in candidate.values))
