"""A user's rule that fails as it runs: one sentence that names its line, never "a bug of ours"."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echofm_core.plan.document import Plan
from echofm_core.run_claim import load_runnable
from echofm_core.runtime.errors import OutputError, PlanError
from server.aggregation import Algorithm, WeightedMean, build_algorithm
from server.aggregation.own_rule import check_model, load_rule, own_rule
from server.aggregation.rule_errors import check_fold, checked_state, naming_own_rule
from tests.server.aggregation.test_own_rule import plan_with

RULE = """
from server.aggregation import Algorithm

class Mine(Algorithm):
    def start(self, sent, current):
        {}
"""


def begun(folder: Path, body: str) -> tuple[Plan, Algorithm]:
    """A rule whose ``start`` has this line, its sixth."""
    plan = load_runnable(plan_with(folder, RULE.format(body)))
    return plan, build_algorithm(plan.federation, own=own_rule(plan))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "1 / 0",
            r"mine.py failed in line 6, in start \(ZeroDivisionError: division by zero\);",
        ),
        ("raise KeyError('two\\nlines')", r"in line 6, in start \(KeyError: "),
        ("raise SystemExit(0)", r"in line 6, in start \(SystemExit: 0\)"),
        ("super().start(sent).x", r"in line 6, in start \(TypeError: .*current"),
    ],
)
def test_what_a_rule_raises_names_its_line(body: str, sentence: str, tmp_path: Path) -> None:
    plan, rule = begun(tmp_path, body)
    with pytest.raises(PlanError, match=sentence) as caught, naming_own_rule(plan):
        rule.start({}, {})
    assert "\n" not in str(caught.value) and caught.value.exit_code == 10


def test_errors_that_are_not_the_rule_s_stay_what_they_are(tmp_path: Path) -> None:
    """Neither one that never was in its file, nor one of the package, nor another plan's."""
    plan, rule = begun(tmp_path, "raise current")
    with pytest.raises(ZeroDivisionError), naming_own_rule(plan):
        _ = 1 / 0
    with pytest.raises(OutputError, match="no room"), naming_own_rule(plan):
        rule.start({}, OutputError("no room"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other"), naming_own_rule(Plan()):
        rule.start({}, ValueError("other"))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt), naming_own_rule(plan):
        rule.start({}, KeyboardInterrupt())  # type: ignore[arg-type]


def test_a_rule_that_cannot_be_made_is_refused_as_it_is_read(tmp_path: Path) -> None:
    code = RULE.format("pass") + "    def __init__(self, config):\n        pass\n"
    plan = load_runnable(plan_with(tmp_path, code))
    with pytest.raises(PlanError, match=r"Mine of .*mine.py cannot be made \(too many positional"):
        load_rule(plan)


def test_what_start_gives_takes_in_replies() -> None:
    rule = build_algorithm(Plan().federation)
    check_fold(WeightedMean({}, {}, rule.shares))
    with pytest.raises(PlanError, match=r"start\(\) .* gives NoneType, which has no add\(\)"):
        check_fold(None)  # type: ignore[arg-type]


def test_what_finish_gives_is_a_mapping() -> None:
    with pytest.raises(PlanError, match=r"finish\(\) .* gives NoneType, expected a dict"):
        check_model(None, {})  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="has array 3;"):
        check_model({3: np.zeros(1, "f4"), "x": np.zeros(1, "f4")}, {})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (None, r"gives None, expected pairs of a name"),
        ([{"rounds": np.ones(1, np.float32)}], r"gives \{'rounds': .*, expected pairs"),
        ([("mine", {"rounds": [1.0]})], r"gives rounds as list, expected pairs"),
        ([("../mine", {"rounds": np.ones(1, np.float32)})], r"gives \('../mine', .*letters, dig"),
    ],
)
def test_what_state_gives_can_be_kept(state: object, sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        list(checked_state(state))  # type: ignore[arg-type]


def test_a_state_passes_as_it_is() -> None:
    state = [("gentle-start", {"rounds": np.ones(1, np.float32)}), ("b_2", {})]
    assert list(checked_state(state)) == state
