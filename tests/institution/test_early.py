"""What cannot work is refused before anything is decoded, and leaves no run folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from echofm_core.errors import DataRootError, EchoFMError, EmptySiteError, PlanError
from echofm_core.institution.commands import finetune
from simulations.commands import simulate
from tests.institution.conftest import PLAN

#: The folder's own clips are one site with EF and EDV.
NOBODY = PLAN.replace('tasks = ["ef", "edv", "reduced_ef"]', 'tasks = ["as_grade"]')


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (PLAN + "[federation]\nmin_sites = 2\n", PlanError, "makes 1 of these data"),
        (NOBODY, PlanError, "0 of 1 sites have training labels for as_grade"),
        (
            PLAN + '[protocol]\ndatasets = ["echonet_dynamc"]\n',
            DataRootError,
            "did you mean `echonet_dynamic`",
        ),
    ],
)
def test_a_federation_that_cannot_work(
    home: Path, text: str, kind: type[EchoFMError], said: str
) -> None:
    (home / "plan.toml").write_text(text)
    with pytest.raises(kind, match=said):
        simulate(home / "plan.toml", home / "run")
    assert not (home / "run").exists() and not (home / "cache").exists()


def test_an_institution_without_labels(home: Path) -> None:
    (home / "plan.toml").write_text(NOBODY)
    with pytest.raises(EmptySiteError, match="no training clip has a label for as_grade"):
        finetune(home / "plan.toml", home / "run")
    assert not (home / "run").exists() and not (home / "cache").exists()


def test_a_plan_is_looked_at_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    words = (
        "import sys; import echofm_core.cli, echofm_core.plan, echofm_core.run_claim;"
        "print({'torch', 'pandas', 'numpy', 'flwr'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"
