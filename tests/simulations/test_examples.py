"""Every example plan is valid as it stands, and those with phantoms find what they train on."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from client.plan_words import update_bytes
from echofm_core.contract import Phase
from echofm_core.data.findings import Findings
from echofm_core.data.prepare import Prepared, read
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.phantom.missing import write_missing
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from echofm_core.plan.phantoms import PhantomConfig
from echofm_core.tasks import TASKS, Task
from simulations.prepare import check_sites
from simulations.protocols.assign import assign_sites
from simulations.study.cells import cell_of, settings, study_of

HOME = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(HOME.glob("**/*.toml"))
PHANTOM = [path for path in EXAMPLES if load_plan(path).machine.phantoms.folder]
PAPER = [path for path in EXAMPLES if path.parent.name == "paper"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid(path: Path) -> None:
    plan = load_plan(path)
    assert plan.name == path.stem
    assert plan.machine.roots


def test_there_are_those_that_the_readme_names() -> None:
    names = ["demo", "institution-ef", "institution_ef_phantom", "pretrain-mimic"]
    assert [path.stem for path in EXAMPLES if path.parent == HOME] == names
    assert len(PAPER) == 7


def test_the_demo_example_is_what_the_demo_runs() -> None:
    packaged = Path(str(files("simulations").joinpath("demo.toml")))
    assert load_plan(EXAMPLES[0]).digest() == load_plan(packaged).digest()


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for the phantoms of all examples, a few patients each; written as plans want them."""
    return tmp_path_factory.mktemp("phantoms")


def on_few(plan: Plan, few: Path) -> Plan:
    """The plan on fewer patients, which are written where they are missing."""
    config, old = plan.machine.phantoms, Path(plan.machine.phantoms.folder).resolve()
    counts = {name: max(5, count // 12) for name, count in config.patients.items()}
    folder = few / old.name
    moved = PhantomConfig(folder=str(folder), patients=counts, seed=config.seed)
    roots = [str(folder / Path(root).resolve().relative_to(old)) for root in plan.machine.roots]
    write_missing(moved, roots)
    machine = plan.machine.model_copy(update={"roots": tuple(roots), "phantoms": moved})
    return plan.model_copy(update={"machine": machine})


@pytest.mark.parametrize("path", PHANTOM, ids=lambda path: path.stem)
def test_its_methods_find_sites_labels_and_test_patients(path: Path, few: Path) -> None:
    """All that is looked at before a clip is decoded; no method of a study is left out."""
    plan = on_few(load_plan(path), few)
    found, findings = read(plan.data, plan.machine, plan.protocol.datasets)
    assert not findings.quarantined
    study = study_of(plan)
    for common, here, _ in settings(plan):
        manifest = assign_sites(found, here.protocol, here.seed)
        check_sites(manifest, here)
        prepared = Prepared(manifest=manifest, findings=Findings(), stores=few)
        cell = cell_of(here, few, prepared, study.methods, common)
        assert [method.name for method, _ in cell.methods] == list(study.methods)
        assert all(any(piece.arm.test for piece in pieces) for _, pieces in cell.methods)
        for piece in cell.pieces().values():
            phases = [phase for phase in Phase if piece.plan.rounds_of(phase)]
            assert all(update_bytes(piece.plan, phase) > 0 for phase in phases)


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_published_numbers_are_of_metrics_that_there_are(path: Path) -> None:
    plan = load_plan(path)
    assert any(item.value is not None for item in plan.study.published)
    for item in plan.study.published:
        assert item.task in plan.finetune.tasks
        assert item.metric in names_of(item.task)
        assert bool(item.source) == (item.value is not None)


def names_of(task: Task) -> set[str]:
    """Metrics of a task."""
    classes = TASKS[task].outputs
    guess = np.full((4, classes), 1 / classes) if classes > 1 else np.full(4, 0.5)
    return set(task_metrics(task, np.array([0.0, 1, 0, 1]), guess, np.ones((1, 4)), 50.0))


def test_the_plans_of_the_paper_have_one_set_of_phantoms() -> None:
    """So that they are written once; and real sets in their place lie under names of their own."""
    tables = [load_plan(path).machine.phantoms for path in PAPER]
    assert len({table.model_dump_json() for table in tables}) == 1
