"""Options of a command over the ``[study]`` table of a plan."""

from __future__ import annotations

from typing import Any

from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping


def with_study(
    plan: Plan,
    seeds: int | None,
    methods: str | None,
    protocols: str | None,
    tune: int | None = None,
) -> Plan:
    """The plan with these options in place of the keys of its table; None leaves a key.

    Args:
        plan: As its file says.
        seeds: How many.
        methods, protocols: Names with commas between.
        tune: Settings that each method gets.

    Raises:
        PlanError: A name is none that there is, or the keys do not go together.
    """
    words = {"methods": methods, "protocols": protocols}
    given: dict[str, Any] = {"seeds": seeds, **words, "tune": tune}
    given = {
        key: [word.strip() for word in value.split(",") if word.strip()]
        if isinstance(value, str)
        else value
        for key, value in given.items()
        if value is not None
    }
    if not given:
        return plan
    study = {**plan.study.model_dump(mode="json"), **given}
    found = plan_from_mapping({**plan.decisive(), "study": study}, "with these options")
    return plan.model_copy(update={"study": found.study})
