"""Terminal, card and page say the same words for the same comparison."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from echofm_core.plan.load import plan_from_mapping
from echofm_core.report.card import write_card
from echofm_core.report.page import write_report
from echofm_core.report.run_files import read_run
from echofm_core.report.words import encoder_start, print_run, words_of
from tests.pages.html import words_of as visible
from tests.report.made_run import write_made_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_made_run(tmp_path_factory.mktemp("words") / "run")


@pytest.fixture(scope="module")
def said(run: Path) -> dict[str, str]:
    """What each of the three shows, as a person reads it: tags dropped, lines joined."""
    files = read_run(run)
    out = io.StringIO()
    print_run(files, Console(file=out, width=400))
    (run / "model").mkdir()
    write_card(files, "federated")
    page = visible(write_report(run).read_text())
    entities = (("&#34;", '"'), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"))
    for entity, character in entities:
        page = page.replace(entity, character)
    card = (run / "model" / "README.md").read_text()
    return {"terminal": out.getvalue(), "card": card, "page": page}


@pytest.mark.parametrize("where", ["terminal", "card", "page"])
def test_every_sentence_of_the_verdict_stands_there(run: Path, said: dict, where: str) -> None:
    sentences = words_of(read_run(run)).verdict
    assert sum("federated against" in line for line in sentences) >= 8
    for line in sentences:
        assert line in said[where], line


@pytest.mark.parametrize("where", ["terminal", "card", "page"])
def test_correlation_stands_beside_error_and_determination(said: dict, where: str) -> None:
    for title in ("EF MAE (points)", "EF R²", "EF Pearson r"):
        assert title in said[where]


@pytest.mark.parametrize("where", ["card", "page"])
def test_what_the_encoder_started_from_is_said(said: dict, where: str) -> None:
    """The made-up plan is the default one: seed 0 and ten rounds of pre-training."""
    text = " ".join(said[where].split())
    assert "encoder started from random weights, drawn by seed 0, then 10 rounds" in text


def test_weights_to_start_from_are_of_the_plan_or_of_the_command(tmp_path: Path) -> None:
    """``start.json`` is what `echofm finetune --start` leaves; a plan names its own digest."""
    run, pinned = tmp_path / "run", "ab" * 32
    run.mkdir()
    assert encoder_start(read_run(run)) == "unknown weights", "without a plan"
    for start, rounds, expected in (
        ("", 0, "random weights, drawn by seed 5"),
        (pinned, 0, "weights abababababab"),
        (pinned, 1, "weights abababababab, then 1 round of pre-training"),
    ):
        tables = {"seed": 5, "model": {"start": start}, "pretrain": {"rounds": rounds}}
        (run / "plan.toml").write_text(plan_from_mapping(tables, "of a test").to_toml())
        assert encoder_start(read_run(run)) == expected
    begun = run / "start.json"
    begun.write_text(json.dumps({"phase": "finetune", "start": "cd" * 32}))
    assert encoder_start(read_run(run)).startswith("weights cdcdcdcdcdcd")
    begun.write_text("{")
    assert encoder_start(read_run(run)) == "unknown weights"


def test_a_changed_finding_changes_all_three(run: Path, said: dict, tmp_path: Path) -> None:
    """The one table is read: with its findings turned round, each sentence turns round."""
    table = pd.read_parquet(run / "paired.parquet")
    turned = table.assign(finding="worse")
    turned.to_parquet(run / "paired.parquet")
    try:
        lines = [line for line in words_of(read_run(run)).verdict if "against pooled" in line]
        out = io.StringIO()
        print_run(read_run(run), Console(file=out, width=400))
        page = visible(write_report(run).read_text())
        assert lines and all("pooled data: worse" in line for line in lines)
        assert all(line in out.getvalue() and line in page for line in lines)
        assert not any(line in said["page"] for line in lines)
    finally:
        table.to_parquet(run / "paired.parquet")


def test_sentences_do_not_all_end_alike(run: Path) -> None:
    endings = {line.rsplit(";", 1)[-1] for line in words_of(read_run(run)).verdict}
    assert len(endings) > len(words_of(read_run(run)).verdict) / 2
