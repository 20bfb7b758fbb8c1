"""A user's rule: what it may be, and the sentence for each way in which it is not that."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from echofm_core.contract import Weights
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan, plan_from_mapping
from echofm_core.run_claim import load_runnable
from echofm_core.runtime.errors import PlanError
from server.aggregation import Algorithm, build_algorithm
from server.aggregation.own_rule import check_model, load_rule, own_rule

FEDERATION = {"aggregation": "custom", "rule": "mine.py"}
RULE = """
from __future__ import annotations
from dataclasses import dataclass
from server.aggregation import Algorithm

@dataclass
class Half:
    part: float = 0.5

class _Base(Algorithm):
    pass

class Mine(_Base):
    pass
"""


def plan_with(folder: Path, rule: str | None) -> Path:
    """A plan file whose rule has this text; None: there is no such file."""
    path = folder / "plan.toml"
    path.write_text(tomli_w.dumps({"federation": FEDERATION}))
    if rule is not None:
        (folder / "mine.py").write_text(rule)
    return path


def test_the_one_rule_of_a_file_is_built(tmp_path: Path) -> None:
    """Helpers, imported rules and names that begin with _ are none."""
    plan = load_runnable(plan_with(tmp_path, RULE))
    rule = own_rule(plan)
    assert rule is not None and rule.__name__ == "Mine"
    assert type(build_algorithm(plan.federation, own=rule)) is rule
    (tmp_path / "mine.py").unlink()  # what a run has begun with stays
    assert own_rule(plan) is rule


def test_other_plans_have_none(tmp_path: Path) -> None:
    """A study may compare the own rule that a plan names with that by which it is run."""
    assert own_rule(Plan()) is None
    path = plan_with(tmp_path, RULE)
    path.write_text(path.read_text().replace("custom", "fedavg"))
    plan = load_runnable(path)
    assert own_rule(plan) is None and load_rule(plan).__name__ == "Mine"


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (RULE.replace("class Mine", "class _Mine"), r"mine.py holds no rule, expected exactly one"),
        (RULE.replace("_Base", "Base"), r"mine.py holds the rules Base, Mine, expected exactly"),
        ("import no_such_package", r"cannot be imported \(ModuleNotFoundError: No module named"),
        ("def (", r"cannot be imported \(SyntaxError: "),
        ("raise ValueError('two\\nlines')", r"cannot be imported \(ValueError: two lines\); mend"),
        ("raise SystemExit(3)", r"cannot be imported \(SystemExit: 3\)"),
    ],
)
def test_what_is_no_rule_gets_one_sentence(rule: str, sentence: str, tmp_path: Path) -> None:
    plan = load_runnable(plan_with(tmp_path, rule))
    with pytest.raises(PlanError, match=sentence) as caught:
        own_rule(plan)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 10


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"mine.py, cannot be read \(No such file or directory\)"):
        load_runnable(plan_with(tmp_path, None))


def test_the_file_is_part_of_the_hash_and_its_folder_is_not(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for folder in folders:
        folder.mkdir()
    texts = [RULE, RULE, RULE + "# other"]
    plans = [
        load_runnable(plan_with(folder, text)) for folder, text in zip(folders, texts, strict=True)
    ]
    assert plans[0].digest() == plans[1].digest() != plans[2].digest()
    assert plans[0].federation.rule_sha256 == hashlib.sha256(RULE.encode()).hexdigest()
    assert str(tmp_path) not in plans[0].to_json()


def test_a_pinned_plan_refuses_another_file_and_needs_none_to_be_read(tmp_path: Path) -> None:
    """As a run folder has it, and as a hospital is handed it."""
    path = plan_with(tmp_path, RULE)
    pinned = load_runnable(path)
    path.write_text(pinned.to_shared_toml())
    assert load_runnable(path).digest() == pinned.digest()
    (tmp_path / "mine.py").write_text(RULE + "# other")
    with pytest.raises(PlanError, match=r"rule mine.py has SHA-256 \w{12}, but .*mine.py has \w"):
        load_runnable(path)
    (tmp_path / "mine.py").unlink()
    assert load_runnable(path).digest() == pinned.digest()


def test_a_file_that_changes_between_reading_and_running_is_not_run(tmp_path: Path) -> None:
    text = RULE + "# of this test"
    plan = load_runnable(plan_with(tmp_path, text))
    (tmp_path / "mine.py").write_text(text + " and changed")
    with pytest.raises(PlanError, match=r"has SHA-256 \w{12}, but the plan's rule has \w{12}"):
        own_rule(plan)


def test_a_rule_may_lie_elsewhere_on_this_machine(tmp_path: Path) -> None:
    values = {"federation": FEDERATION, "machine": {"rule": "rules/other.py"}}
    (tmp_path / "plan.toml").write_text(tomli_w.dumps(values))
    assert load_plan(tmp_path / "plan.toml").machine.rule == str(tmp_path / "rules/other.py")


@pytest.mark.parametrize(
    "federation",
    [
        {"aggregation": "custom"},
        {"aggregation": "custom", "rule": "/home/me/mine.py"},
        {"aggregation": "custom", "rule": "mine.txt"},
        {"aggregation": "fedavg", "rule": "mine.txt"},
    ],
)
def test_a_plan_names_a_python_file_beside_it(federation: dict[str, str]) -> None:
    with pytest.raises(PlanError, match="needs rule, a Python file relative to the plan"):
        plan_from_mapping({"federation": federation}, "test")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ({}, "lacks array encoder.w"),
        ({"encoder.w": np.zeros(2, "f4"), "x": np.zeros(1, "f4")}, "has array x"),
        ({"encoder.w": np.zeros(2)}, "gives encoder.w as float64, expected float32"),
        ({"encoder.w": np.zeros(3, "f4")}, r"the shape \(3,\), expected \(2,\)"),
        ({"encoder.w": np.array([0, np.nan], "f4")}, "values that are not finite"),
    ],
)
def test_what_a_rule_gives_must_be_a_model(model: Weights, sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        check_model(model, {"encoder.w": np.ones(2, np.float32)})
    check_model({"encoder.w": np.zeros(2, np.float32)}, {"encoder.w": np.ones(2, np.float32)})


def test_the_public_names_are_there() -> None:
    """What docs/how-to/own-rule.md says can be imported."""
    import server.aggregation as public

    assert all(hasattr(public, name) for name in public.__all__)
    assert public.Algorithm is Algorithm
