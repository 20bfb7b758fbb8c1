"""A last local step where a site that is never seen lends its clips without labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from simulations.experiment import run_experiment
from tests.simulations.test_unseen import TRAINED, UNSEEN, plan_for
from tests.support.phantoms import Phantoms

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_it_has_no_model_of_its_own(phantoms: Phantoms, tmp_path: Path) -> None:
    """It has pre-trained and has labelled training patients, whom no model may learn from."""
    phantoms.hospitals(tmp_path / "data", dict.fromkeys((*TRAINED, UNSEEN), 12), seed=5)
    plan = plan_for(
        tmp_path / "data",
        protocol={"unseen": [UNSEEN], "unlabelled_target": True},
        personal={"last_steps": 2},
        evaluation={"bootstrap": 100, "baselines": []},
    )
    run_experiment(plan, tmp_path / "run")
    tables = {
        name: pd.read_parquet(tmp_path / f"run/predictions/{name}.parquet")
        for name in ("federated", "last_step")
    }
    assert set(tables["federated"]["site"]) == {*TRAINED, UNSEEN}
    assert set(tables["last_step"]["site"]) == set(TRAINED)
