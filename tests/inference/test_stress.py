"""`echofm evaluate --stress`: real small runs, on their own test clips and on other data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from echofm_core.data.store.clip_store import ClipStore
from echofm_core.inference.commands import evaluate
from echofm_core.report.stress import read_stress
from echofm_core.runtime.errors import EmptySiteError, OutputError, PlanError, StoreError
from simulations.commands import finetune
from tests.simulations.alone.conftest import PLAN, write_home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An institution of 20 patients, 6 of them for the test, with a run of a round."""
    home = write_home(tmp_path_factory.mktemp("home"))
    (home / "plan.toml").write_text(PLAN.replace("rounds = 4", "rounds = 1"))
    finetune(home / "plan.toml", home / "run")
    return home


def values(folder: Path) -> pd.Series:
    table = pd.read_parquet(folder / "scores.parquet")
    return table[table["model"] != "no_network"].set_index(["site", "task", "metric"])["value"]


def test_a_run_is_stressed_on_its_own_test_clips_and_nothing_is_decoded(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clean values are those of the run's own test, bit for bit; the report gets the table."""
    monkeypatch.setattr("echofm_core.data.store.build.build_stores", None)  # would end the test
    evaluate(home / "run", stress=True)
    out = capsys.readouterr().out
    assert "The changes are synthetic" in out
    assert "stress: 132/132" in out, "6 clips under 22 settings"
    table = read_stress(home / "run")
    keys = ["site", "task", "metric"]
    clean = table[table["change"] == "clean"].set_index(keys)["value"]
    assert len(clean) == 3 + 3 + 1
    expected = values(home / "run")
    np.testing.assert_array_equal(clean, expected[clean.index])  # NaN where all labels are alike
    assert table.groupby("change")["strength"].nunique().drop("clean").eq(3).all()
    assert table["loss"].abs().max() > 0
    assert "The same test clips, changed" in (home / "run/report.html").read_text()
    first = (home / "run/stress.csv").read_bytes()
    evaluate(home / "run", stress=True)
    assert (home / "run/stress.csv").read_bytes() == first


def test_other_data_are_scored_and_stressed_in_one_go(home: Path) -> None:
    evaluate(home / "run", [home / "data"], home / "test", cache=home / "cache", stress=True)
    clean = read_stress(home / "test").query("change == 'clean'")
    expected = values(home / "test")
    clean = clean.set_index(["site", "task", "metric"])["value"]
    np.testing.assert_array_equal(clean, expected[clean.index])  # NaN where all labels are alike


def test_a_clip_that_cannot_be_read_is_left_out_and_said(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of six patients' frames cannot be read: five are scored, under every setting."""
    frames, bad = ClipStore.frames, []

    def fail(self: ClipStore, clip_id: str, *args: int) -> object:
        bad.append(clip_id)
        if clip_id == bad[0]:
            raise OSError("Input/output error")
        return frames(self, clip_id, *args)

    monkeypatch.setattr(ClipStore, "frames", fail)
    evaluate(home / "run", stress=True)
    out = " ".join(capsys.readouterr().out.split())
    assert "1 clip of 6 count nowhere in the table: OSError: Input/output error" in out
    table = read_stress(home / "run")
    assert set(table["patients"]) == {5}
    assert "1 clip that could not be read" in (home / "run/report.html").read_text()

    monkeypatch.setattr(ClipStore, "frames", None)  # of none can be
    with pytest.raises(EmptySiteError, match="none of 6 test clips could be read"):
        evaluate(home / "run", stress=True)


def test_what_cannot_be_stressed_is_refused_in_a_sentence(home: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"is no run folder: it has no plan\.toml"):
        evaluate(tmp_path, stress=True)
    (tmp_path / "plan.toml").write_bytes((home / "run/plan.toml").read_bytes())
    with pytest.raises(PlanError, match="nor a training of a study does; give data folders"):
        evaluate(tmp_path, stress=True)
    (tmp_path / "study.json").touch()
    with pytest.raises(PlanError, match=r"holds a study: its models lie in .*/seed-\*/arms/\*"):
        evaluate(tmp_path, stress=True)
    with pytest.raises(StoreError, match="no clip store"):
        evaluate(home / "run", stress=True, cache=tmp_path)
    with pytest.raises(typer.BadParameter, match="give data folders and --out"):
        evaluate(home / "run")
    for option in ({"out": tmp_path}, {"everything": True}, {"seen": True}, {"record": tmp_path}):
        with pytest.raises(typer.BadParameter, match="belong to data folders"):
            evaluate(home / "run", stress=True, **option)


def test_a_run_folder_without_permission_is_refused_before_a_model_is_loaded(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table goes there. To a superuser the system always says yes."""
    monkeypatch.setattr(os, "access", lambda place, how: False)
    monkeypatch.setattr("echofm_core.inference.stress.load_model", None)  # would end the test
    with pytest.raises(OutputError, match=f"no permission to write in {home / 'run'};"):
        evaluate(home / "run", stress=True)
