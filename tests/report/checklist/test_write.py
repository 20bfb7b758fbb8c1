"""`echofm report --checklist` on a real small run: the file and the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from echofm_core.report.checklist.item import BLANK
from echofm_core.report.commands import report
from simulations.commands import finetune
from tests.simulations.alone.conftest import PLAN, write_home


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = write_home(tmp_path_factory.mktemp("home"))
    (home / "plan.toml").write_text(PLAN.replace("rounds = 4", "rounds = 1"))
    finetune(home / "plan.toml", home / "run")
    return home / "run"


def answers(text: str) -> dict[str, str]:
    """Item -> answer, of the table of CLAIM."""
    claim = text[text.index("## CLAIM") : text.index("## TRIPOD")]
    rows = (line.strip("| ").split(" | ", 2) for line in claim.splitlines() if line[:1] == "|")
    return {row[0]: row[2] for row in rows if row[0].isdigit()}


def test_a_run_answers_what_it_recorded(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten patients to train on, four to validate and six to test, one clip each, of one site."""
    report([run], checklist=True)
    path = run / "export" / "checklist.md"
    assert str(path) in capsys.readouterr().out.replace("\n", "")
    found = answers(path.read_text())
    assert len(found) == 44
    assert found["2"] == found["44"] == BLANK
    assert found["7"].startswith("By site: institution, 20 clips of 20 patients (data set")
    assert found["19"].startswith(
        "By split: training, 10 clips of 10 patients; validation, 4 clips of 4 patients; test, 6 "
    )
    assert "0 of 20 patients are in more than one split" in found["20"]
    assert "1 round, 1 pass over each site's clips in a round, batches of 8" in found["25"]
    assert "federated" not in found["1"], "one site alone"
    assert re.search(r"EF MAE \(points\) \d+\.\d", found["32"])
    assert found["33"] == "None in this run: every site that was tested also trained."
    assert found["30"] == BLANK, "it was not stressed"
    assert str(run) not in path.read_text(), "no place on this machine"
    page = (run / "report.html").read_text()
    assert "Reporting checklists" in page
    assert "CLAIM 2024: " in page
    assert "TRIPOD+AI: " in page
