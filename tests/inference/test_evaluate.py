"""`echofm evaluate` on patients of the training: real runs, by count, refused and asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.training_record import KEY, RECORD
from echofm_core.inference.commands import evaluate
from echofm_core.inference.export import export_folder
from echofm_core.models.saved import load_model
from echofm_core.runtime.errors import ResumeError, SeenPatientsError
from simulations.commands import finetune, pretrain
from tests.simulations.alone.conftest import PLAN, write_home

SHORT = PLAN.replace("rounds = 3", "rounds = 1").replace("rounds = 4", "rounds = 1")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Folder with ``data/`` and ``plan.toml`` of an institution of 20 patients."""
    return write_home(tmp_path)


@pytest.fixture
def run(home: Path) -> Path:
    """A model fine-tuned for a round on 10 patients, validated on 4; 6 are for the test."""
    (home / "plan.toml").write_text(SHORT)
    finetune(home / "plan.toml", home / "run")
    return home / "run"


def summary(folder: Path) -> dict[str, object]:
    found = json.loads((folder / "summary.json").read_text())
    assert isinstance(found, dict)
    return found


def test_patients_of_the_training_are_refused_by_count_and_scored_when_asked_for(
    home: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, cache = [home / "data"], home / "cache"
    evaluate(run, data, home / "test", cache=cache)
    assert "trained on none of these 6 patients" in capsys.readouterr().out
    assert summary(home / "test")["patients_trained_on"] == 0
    with pytest.raises(SeenPatientsError, match="trained on 14 of these 20 patients") as caught:
        evaluate(run, data, home / "all", everything=True, cache=cache)
    assert caught.value.exit_code == 19
    assert not (home / "all").exists(), "nothing was decoded or written"
    evaluate(run, data, home / "all", everything=True, seen=True, cache=cache)
    assert "trained on 14 of these 20 patients" in capsys.readouterr().out
    assert summary(home / "all")["patients_trained_on"] == 14
    scores = pd.read_parquet(home / "all" / "scores.parquet")
    assert set(scores.loc[scores["task"] == "ef", "patients"]) == {20}


def test_the_record_stays_and_a_model_that_was_handed_on_says_unknown(
    home: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {path.name for path in run.rglob("*") if path.name in (RECORD, KEY)} == {RECORD, KEY}
    assert not {path.name for path in (run / "model").iterdir()} & {RECORD, KEY}
    assert not re.search(r"0X\d", (run / RECORD).read_text()), "no patient in clear"
    export_folder(load_model(run), run, home / "handed-on", onnx=False)
    assert not [path for path in (home / "handed-on").rglob("*") if "trained_on" in path.name]
    data, cache = [home / "data"], home / "cache"
    evaluate(home / "handed-on", data, home / "far", everything=True, cache=cache)
    assert "is unknown: it has no record" in capsys.readouterr().out.replace("\n", " ")
    assert summary(home / "far")["patients_trained_on"] is None
    with pytest.raises(SeenPatientsError, match="14 of these 20"):
        evaluate(home / "handed-on", data, home / "near", everything=True, record=run, cache=cache)


def test_patients_of_pre_training_count_where_fine_tuning_had_others(home: Path) -> None:
    """Pre-trained on the folder as it is, fine-tuned after patients 0 to 9 have left the table."""
    (home / "plan.toml").write_text(SHORT)
    pretrain(home / "plan.toml", home / "mae")
    table = home / "data/FileList.csv"
    rows = table.read_text().splitlines()
    fewer = [row.replace("VAL", "TRAIN") for row in rows if not re.match(r"0X\d,", row)]
    table.write_text("\n".join(fewer) + "\n")
    finetune(home / "plan.toml", home / "run", start=home / "mae")
    table.write_text("\n".join(rows) + "\n")
    with pytest.raises(SeenPatientsError, match="14 of these 20"):
        evaluate(home / "run", [home / "data"], home / "all", everything=True)


def test_the_scores_of_a_run_are_not_written_over(home: Path, run: Path) -> None:
    before = (run / "scores.parquet").read_bytes()
    with pytest.raises(ResumeError, match="would be written over"):
        evaluate(run, [home / "data"], run)
    assert (run / "scores.parquet").read_bytes() == before
