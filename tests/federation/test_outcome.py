"""What a run between hospitals leaves in its folder, and what it does not."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from flwr.app import Context, RecordDict
from rich.console import Console

from echofm_core.contract import Score
from echofm_core.data.manifest import load_manifest
from echofm_core.data.training_record import count_trained_on, find_record
from echofm_core.report.run_files import read_run
from echofm_core.report.words import print_run
from echofm_core.runtime.errors import FederationError
from server.app import app
from server.ending import FederationResult, RunOptions
from server.outcome import conclude, paired_table, score_table
from server.rounds import run_federation
from server.run import Run
from server.sites import gather_sites
from simulations.engine import Engine, SiteSettings
from tests.federation.small import NAMES, TEST, TRAIN, small_plan, with_states

Done = tuple[Path, FederationResult]
SECONDS = 12.5
PLAN = small_plan(pretrain={"rounds": 1}, finetune={"rounds": 1})


@pytest.fixture(scope="module")
def done(built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("outcome")
    with Engine() as engine:
        grid = engine.grid(with_states(built_sites, folder / "state"))
        result = run_federation(grid, PLAN, folder / "run", options=RunOptions(floor=True))
    assert conclude(PLAN, folder / "run", result, SECONDS) == folder / "run" / "report.html"
    return folder, result


def test_readers_are_told_what_the_plan_makes_of_the_numbers(done: Done, tmp_path: Path) -> None:
    """2 x 2 positions of 16 pixels; and, of another plan, half of the labels."""

    def notes_of(run: Path) -> str:
        return " ".join(json.loads((run / "summary.json").read_text())["notes"])

    assert "leaves the encoder about 1 of 2 x 2 positions" in notes_of(done[0] / "run")
    assert "label_fraction" not in notes_of(done[0] / "run")
    shutil.copytree(done[0] / "run", tmp_path / "run")
    conclude(small_plan(finetune={"label_fraction": 0.5}), tmp_path / "run", done[1], SECONDS)
    assert "label_fraction is 0.5" in notes_of(tmp_path / "run")


def test_readers_are_told_that_a_site_may_have_spent_more(done: Done, tmp_path: Path) -> None:
    rows = [("finetune", 1, "alpha", "epsilon", 1.5), ("finetune", 2, "alpha", "refused", 1.0)]
    table = pd.DataFrame(rows, columns=["phase", "round", "site", "metric", "value"])
    shutil.copytree(done[0] / "run", tmp_path / "run")
    conclude(PLAN, tmp_path / "run", replace(done[1], metrics=table), SECONDS)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["privacy"][0]["epsilon"] == 1.5
    assert [note for note in summary["notes"] if note.startswith("alpha: 1 round did not count")]


def test_scores_are_those_that_the_sites_computed(done: Done) -> None:
    """alpha and beta have two test patients with an EF, gamma two with a grade."""
    folder, result = done
    table = pd.read_parquet(folder / "run" / "scores.parquet")
    own = table[table["model"] == "federated"]
    tasks = own.groupby("site")["task"].unique().map(sorted).to_dict()
    assert tasks == {
        "alpha": ["ef", "reduced_ef"], "beta": ["ef", "reduced_ef"], "gamma": ["as_grade"],
    }  # fmt: skip
    assert set(own["patients"]) == {TEST}
    mae = own[(own["metric"] == "mae") & (own["site"] == "beta")].iloc[0]
    notes_of = result.site_results[1].scores["federated/ef/mae"]
    assert (mae["value"], mae["low"], mae["high"]) == (notes_of.value, notes_of.low, notes_of.high)
    assert mae["low"] <= mae["value"] <= mae["high"]


def test_differences_have_a_table_of_their_own(done: Done) -> None:
    """No site here has the five training patients of the floor's folds: its tables are empty.

    Where it has, see tests/client/test_testing.py; here the sites' numbers are made up.
    """
    scores = pd.read_parquet(done[0] / "run" / "scores.parquet")
    assert set(scores["model"]) == {"federated"}
    notes_of = {
        "federated/ef/mae": Score(5.0, 4.0, 6.0),
        "no_network/ef/mae": Score(8.0, 7.0, 9.0),
        "federated_minus_no_network/ef/mae": Score(-3.0, -4.0, -1.0, 0.01),
    }
    result = replace(done[1].site_results[0], scores=notes_of)
    assert score_table((result,)).to_numpy().tolist() == [
        ["federated", "alpha", "ef", "mae", 5.0, 4.0, 6.0, TEST],
        ["no_network", "alpha", "ef", "mae", 8.0, 7.0, 9.0, TEST],
    ]
    assert paired_table((result,), PLAN.evaluation).empty, "two patients are too few to judge"
    enough = small_plan(evaluation={"min_patients": 2})
    assert paired_table((result,), enough.evaluation).to_dict("records") == [
        {
            "model": "federated",
            "rival": "no_network",
            "site": "alpha",
            "task": "ef",
            "metric": "mae",
            "value": -3.0,
            "low": -4.0,
            "high": -1.0,
            "patients": TEST,
            "p": 0.01,
            "comparisons": 1,
            "p_holm": 0.01,
            "finding": "better",
            "counted": True,
        }
    ]


def test_counts_are_those_that_the_sites_described(done: Done) -> None:
    table = pd.read_parquet(done[0] / "run" / "sites.parquet")
    train = table[table["split"] == "train"].set_index("site")
    assert train["clips"].to_dict() == train["patients"].to_dict() == TRAIN
    assert train["ef"].to_dict() == {"alpha": 4, "beta": 3, "gamma": 0}
    test = table[table["split"] == "test"].set_index("site")
    assert test["patients"].to_dict() == dict.fromkeys(NAMES, TEST)


def test_the_page_says_what_it_cannot_show_and_why(done: Done) -> None:
    """Nothing of one patient is in the folder: ids there are alpha-p0 and so on."""
    run = done[0] / "run"
    page = (run / "report.html").read_text()
    assert "predictions of single patients stay in the state folder of each site" in page
    assert "frames stay at the sites" in page
    assert "computed at the sites" in page
    for path in run.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [name for name in NAMES if f"{name}-p".encode() in content], path
            assert b"Doe" not in content, path
    assert not (run / "predictions").exists()


def test_summary_and_card_are_those_of_a_simulation(done: Done) -> None:
    folder, result = done
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["digest"] == result.digest and summary["plan_hash"] == PLAN.digest()
    assert summary["seconds"] == SECONDS
    card = (folder / "run" / "model" / "README.md").read_text()
    assert "Trained between 3 sites" in card and result.digest in card
    assert "| alpha | not reported | 4 | 4 |" in card


def test_a_resumed_run_counts_the_time_of_its_earlier_sessions(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Of the ServerApp; all rounds are done, so that it tests the model and ends."""
    run = tmp_path / "run"
    shutil.copytree(done[0] / "run", run)
    (run / "sessions.json").write_text('{"seconds": [1000.0, 500.0]}')
    config = {"plan": str(run / "plan.toml"), "run-folder": str(run), "resume": True}
    context = Context(
        run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=dict(config)
    )
    with Engine() as engine:
        app(engine.grid(with_states(built_sites, tmp_path / "state")), context)
    earlier = [1000.0, 500.0]
    *before, now = json.loads((run / "sessions.json").read_text())["seconds"]
    assert before == earlier and 0 < now < 100
    summary = json.loads((run / "summary.json").read_text())
    assert summary["seconds"] == pytest.approx(sum(earlier) + now, abs=0.1)


def test_each_site_keeps_the_record_of_whom_the_model_was_trained_on(
    done: Done, built_sites: list[SiteSettings]
) -> None:
    """In its own state folder, and nowhere in the run; its test patients are not in it."""
    model = done[0] / "run" / "model"
    assert find_record(model, PLAN.digest()) is None
    for site in built_sites:
        record = find_record(model, PLAN.digest(), done[0] / "state" / site.name)
        assert record is not None
        rows = load_manifest(site.manifest)
        for split, count in (("train", TRAIN[site.name]), ("test", 0)):
            assert count_trained_on(rows[rows["split"] == split], *record) == count


def test_a_task_that_nobody_has_labels_for_is_said_once(done: Done, tmp_path: Path) -> None:
    """In the page, in the card and in the terminal; the tables of the opening name it too."""
    plan = small_plan(finetune={"tasks": ["ef", "esv"]})
    (tmp_path / "model").mkdir()
    (tmp_path / "plan.toml").write_text(plan.to_toml())
    conclude(plan, tmp_path, done[1], SECONDS)
    assert "labels" not in " ".join(json.loads((tmp_path / "summary.json").read_text())["notes"])
    card = (tmp_path / "model" / "README.md").read_text()
    print_run(read_run(tmp_path), console := Console(width=300, record=True, file=StringIO()))
    for text in (card, console.export_text()):
        assert text.count("ESV: nobody has labels") == 1
        assert "EF: nobody" not in text and "planned task" not in text


def test_a_task_that_nobody_has_labels_for_is_said_before_training(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    plan = small_plan(finetune={"tasks": ["ef", "esv"], "rounds": 1})
    lines: list[str] = []
    with Engine() as engine:
        grid = engine.grid(with_states(built_sites, tmp_path))
        run = Run(grid, plan, tmp_path)
        gather_sites(run, lambda event: lines.append(event.line()))
    assert lines[-1].startswith("3 sites: alpha, beta, gamma")
    assert lines[-1].endswith("no site has training labels for esv; not trained")


def test_a_run_that_could_be_tested_nowhere_is_no_success(done: Done, tmp_path: Path) -> None:
    """The files are written all the same; a run that failed at one site only goes on."""
    (tmp_path / "model").mkdir()
    failed: Mapping[str, str] = {"alpha": "IndexError.", "beta": "IndexError."}
    nowhere = replace(done[1], site_results=(), failed=failed)
    with pytest.raises(FederationError, match=r"could not be tested at any of 2 sites \(alpha: In"):
        conclude(PLAN, tmp_path, nowhere, SECONDS)
    assert "alpha could not be tested: IndexError." in (tmp_path / "report.html").read_text()
    partly = replace(done[1], failed={"gamma": "IndexError."})
    assert conclude(PLAN, tmp_path, partly, SECONDS).exists()
    assert math.isfinite(json.loads((tmp_path / "summary.json").read_text())["seconds"])
