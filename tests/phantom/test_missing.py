"""``[machine.phantoms]``: written once, whole, where a root wants them; nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from echofm_core.data.readers.registry import read_roots
from echofm_core.phantom import missing
from echofm_core.phantom.missing import write_missing
from echofm_core.phantom.patients import is_phantom
from echofm_core.plan.load import load_plan
from echofm_core.plan.phantoms import PhantomConfig
from echofm_core.runtime.errors import DataRootError, PlanError
from tests.phantom.test_institutions import content
from tests.support.commands import Echofm

TABLE = """
[machine]
roots = ["data/hospitals", "data/public/CAMUS_public"]
[machine.phantoms]
folder = "data"
seed = 2
patients = {valley = 2, camus = 3}
"""


@pytest.fixture
def written(tmp_path: Path) -> tuple[PhantomConfig, tuple[str, ...]]:
    """Config and roots of a plan whose phantoms were just written."""
    (tmp_path / "plan.toml").write_text(TABLE, encoding="utf-8")
    machine = load_plan(tmp_path / "plan.toml").machine
    assert write_missing(machine.phantoms, machine.roots)
    return machine.phantoms, machine.roots


def test_hospitals_and_layouts_are_written_once_and_known_as_synthetic(
    written: tuple[PhantomConfig, tuple[str, ...]],
) -> None:
    config, roots = written
    found, _ = read_roots([Path(root) for root in roots])
    people = found.groupby("dataset", observed=True)["patient_id"].nunique()
    assert dict(people) == {"valley": 2, "camus": 3}
    assert all(is_phantom(Path(root)) for root in roots)
    before = content(Path(config.folder))
    assert not write_missing(config, roots)
    assert content(Path(config.folder)) == before


def test_another_recipe_is_refused_and_nothing_is_written_over(
    written: tuple[PhantomConfig, tuple[str, ...]],
) -> None:
    config, roots = written
    before = content(Path(config.folder))
    for other in (
        config.model_copy(update={"seed": 3}),
        config.model_copy(update={"patients": {"valley": 2}}),
    ):
        with pytest.raises(DataRootError, match="remove that folder"):
            write_missing(other, roots)
    assert content(Path(config.folder)) == before


def test_data_of_a_hospital_that_has_changed_since_are_refused(
    written: tuple[PhantomConfig, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by an update; a change of a hospital that the plan does not name is none."""
    config, roots = written
    valley, others = missing.HOSPITALS[-1], missing.HOSPITALS[:-1]
    assert valley.name == "valley"
    other = tuple(replace(item, edv=item.edv + 1) for item in others)
    monkeypatch.setattr(missing, "HOSPITALS", (*other, valley))
    assert not write_missing(config, roots)
    monkeypatch.setattr(missing, "HOSPITALS", (*others, replace(valley, edv=91)))
    with pytest.raises(DataRootError, match="remove that folder"):
        write_missing(config, roots)


def test_somebodys_data_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/cine.avi").write_bytes(b"of a patient")
    config = PhantomConfig(folder=str(tmp_path / "mine"), patients={"valley": 1})
    with pytest.raises(DataRootError, match="holds data that no plan has written"):
        write_missing(config, [config.folder])
    assert content(tmp_path / "mine") == {"cine.avi": b"of a patient"}


def test_with_other_roots_nothing_is_written(tmp_path: Path) -> None:
    """A mistyped root of real data must not become a folder of phantoms."""
    config = PhantomConfig(folder=str(tmp_path / "data"), patients={"valley": 1})
    assert not write_missing(config, [str(tmp_path / "EchoNet-Dynamik"), str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = PhantomConfig(folder=str(tmp_path / "data"), patients={"valey": 1})
    with pytest.raises(PlanError, match="hospital or layout 'valey', did you mean 'valley'"):
        write_missing(config, [config.folder])
    assert not list(tmp_path.iterdir())


def test_what_was_not_finished_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PhantomConfig(folder=str(tmp_path / "data"), patients={"valley": 1})

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(missing, "write_whole", stop)  # the last file of the folder
        with pytest.raises(KeyboardInterrupt):
            write_missing(config, [config.folder])
    assert not (tmp_path / "data").exists()
    assert write_missing(config, [config.folder])


def test_simulate_writes_them_first(echofm: Echofm, tmp_path: Path) -> None:
    """A plan that is refused for another reason has written nothing."""
    (tmp_path / "plan.toml").write_text(TABLE, encoding="utf-8")
    done = echofm("simulate", "plan.toml", "--methods", "fedavgg", cwd=tmp_path)
    assert done.returncode and not (tmp_path / "data").exists()
    table = TABLE.replace("CAMUS_public", "CAMUS")
    (tmp_path / "plan.toml").write_text(table, encoding="utf-8")
    done = echofm("simulate", "plan.toml", cwd=tmp_path)
    assert "public/CAMUS does not exist" in " ".join(done.stderr.split())
    assert (tmp_path / "data/hospitals/valley").is_dir()
