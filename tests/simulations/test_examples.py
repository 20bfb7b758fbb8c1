"""Every example plan is valid as it stands, and the demo's example is the demo's plan."""

from importlib.resources import files
from pathlib import Path

import pytest

from echofm_core.plan.load import load_plan

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid(path: Path) -> None:
    plan = load_plan(path)
    assert plan.name == path.stem
    assert plan.machine.roots


def test_there_are_those_that_the_readme_names() -> None:
    names = ["demo", "institution-ef", "institution_ef_phantom", "pretrain-mimic"]
    assert [path.stem for path in EXAMPLES] == names


def test_the_demo_example_is_what_the_demo_runs() -> None:
    packaged = Path(str(files("simulations").joinpath("demo.toml")))
    assert load_plan(EXAMPLES[0]).digest() == load_plan(packaged).digest()
