"""An institution whose batches are shared by two processes: one is killed, and it goes on."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from echofm_core.contract import Phase
from echofm_core.data.prepare import Prepared
from echofm_core.models.saved import load_weights
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import TrainingError
from tests.simulations.alone.conftest import PLAN
from tests.simulations.alone.runs import prepared_at, train
from tests.support.commands import Echofm

#: The unfinished round, saved.
SAVED = "run/sites/institution/*/progress/pretrain.safetensors"
#: One round of 32 steps of five clips, three of them in one process and two in the other.
SHARED = PLAN.replace(
    "rounds = 3", "rounds = 1\nlocal_epochs = 16"
) + "devices = 2\nsave_every = 5\n"  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_process_is_named_and_the_round_goes_on(
    echofm: Echofm, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL of rank 1 in the middle of a round, then the command with --resume.

    It ends with the bits of one process that computes each batch in two parts.
    """
    (home / "plan.toml").write_text(SHARED)
    plan = load_plan(home / "plan.toml")
    assert plan.digest() == on_one_device(plan).digest()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = prepared_at(plan, home / "cache")
    before = children()  # decoding leaves a helper of Python's own
    (home / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home / "temporary"))
    with pytest.raises(
        TrainingError,
        match=r"institution, pretrain round 1: rank 1 of 2 ended with exit code -9 \(SIGKILL\)",
    ):
        killed_round(plan, data, home)
    assert children() == before
    assert not list((home / "temporary").iterdir())
    (saved,) = home.glob(SAVED)

    done = echofm("pretrain", home / "plan.toml", "--out", home / "run", "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("round 1: loss") == 1  # one process speaks
    assert not saved.exists()
    alone = on_one_device(plan, accumulate=2)
    train(alone, data, home / "alone", Phase.PRETRAIN)
    assert digest(load_weights(home / "run")) == digest(load_weights(home / "alone"))


def killed_round(plan: Plan, data: Prepared, home: Path) -> None:
    """Train, and kill rank 1 once the round has been saved."""

    def kill() -> None:
        while not list(home.glob(SAVED)):
            time.sleep(0.01)
        ranks = {child.environ().get("RANK"): child for child in children()}
        ranks["1"].kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    train(plan, data, home / "run", Phase.PRETRAIN)


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def on_one_device(plan: Plan, **changes: int) -> Plan:
    machine = plan.machine.model_copy(update={"devices": 1, **changes})
    return plan.model_copy(update={"machine": machine})
