"""Values that a study is repeated with (``study.vary``): each combination is a plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

from pydantic import JsonValue

from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import PlanError

#: What of a plan pre-training does not read: under other values of it, its encoder is the same.
AFTER_PRETRAINING = {"finetune": (), "personal": (), "model": ("stf_net", "stf_without")}


@dataclass(frozen=True, slots=True)
class Variation:
    """One combination of values.

    Attributes:
        values: ``TABLE.KEY`` -> value, or ``TABLE`` -> keys of it; empty: the plan as it is.
    """

    values: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def words(self) -> dict[str, str]:
        """Key -> value, as a table shows it."""
        return {key: _word(value) for key, value in self.values.items()}

    @property
    def sentence(self) -> str:
        """Keys and values for a reader; empty where nothing is varied."""
        return ", ".join(f"{key} = {word}" for key, word in self.words.items())

    @property
    def folder(self) -> str:
        """Name of its folder, e.g. ``label_fraction-0.1``; empty where nothing is varied."""
        parts = (f"{key.rpartition('.')[2]}-{word}" for key, word in self.words.items())
        return "+".join(re.sub(r"[^\w.+-]+", "_", part) for part in parts)

    @property
    def tables(self) -> set[str]:
        """Tables of the plan that differ."""
        return {key.partition(".")[0] for key in self.values}

    def of(self, plan: Plan) -> Plan:
        """A plan with these values, checked as a whole; its study and machine are kept.

        Raises:
            PlanError: It has no such key, or the values do not go with the rest of it.
        """
        if not self.values:
            return plan
        words = plan.decisive()
        for key, value in self.values.items():
            *outer, last = key.split(".")
            table = words
            for name in outer:
                table = table.setdefault(name, {})  # a table of defaults is left out
            table[last] = {**table.get(last, {}), **value} if isinstance(value, dict) else value
        found = plan_from_mapping(words, f"{plan.name} with study.vary {self.words}")
        return found.model_copy(update={"study": plan.study, "machine": plan.machine})


#: Of a study that varies nothing.
PLAIN = Variation()


def variations(plan: Plan) -> list[Variation]:
    """All combinations that a plan's study asks for; at least one.

    Raises:
        PlanError: One of them is no plan, or two have one name.
    """
    vary = plan.study.vary
    found = [Variation(dict(zip(vary, values, strict=True))) for values in product(*vary.values())]
    names = [item.folder for item in found]
    if same := next((name for name in names if names.count(name) > 1), ""):
        raise PlanError(f"two values of study.vary are both written {same!r}; write one of them.")
    for item in found:
        item.of(plan)
    return found


def before_tuning(plan: Plan, common: Plan) -> Plan:
    """A plan whose keys that pre-training does not read are those of another.

    So variations of them share one encoder.

    Args:
        plan: Varied.
        common: Not varied.
    """
    tables = {}
    for name, keys in AFTER_PRETRAINING.items():
        theirs = getattr(common, name)
        own = {key: getattr(theirs, key) for key in keys}
        tables[name] = getattr(plan, name).model_copy(update=own) if keys else theirs
    return plan.model_copy(update=tables)


def _word(value: JsonValue) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_word(one)}" for key, one in value.items()) or "as it is"
    if isinstance(value, list):
        return ", ".join(map(_word, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
