"""What is refused, what the processes are told, and that none of them outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import (
    build_autoencoder,
    build_echo_model,
    build_latent_predictor,
)
from echofm_core.models.latent_predictor import LatentPredictor
from echofm_core.models.weights import all_arrays
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import EnvironmentClashError, PrivacyError, StoreError
from echofm_core.training.config import ExecutionConfig, PretrainConfig
from echofm_core.training.execution.devices import find_devices
from echofm_core.training.execution.job_folder import JobFolder, Terms
from echofm_core.training.execution.launch import _cause, train_round
from echofm_core.training.execution.ranks import LOST_PEER, Ranks
from tests.training.killed import PRETRAIN
from tests.training.site import PLAN, context, private, snapshot
from tests.training.steps.test_loop import job


def test_one_device_is_not_several() -> None:
    with pytest.raises(EnvironmentClashError, match="'cuda:1' is one device, but devices = 2"):
        find_devices("cuda:1", 2)
    assert find_devices("cpu", 3) == "cpu"


def test_too_few_gpus_are_refused(clips: ClipWindows) -> None:
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    where = context(device="cuda", devices=64)
    with pytest.raises(
        EnvironmentClashError, match=f"asks for 64 GPUs, but this machine has {here}"
    ):
        train_round(build_echo_model(PLAN), clips, PLAN, where)


def test_a_private_round_is_refused(clips: ClipWindows, tmp_path: Path) -> None:
    model = build_echo_model(PLAN)
    before = snapshot(model)
    where = replace(private(tmp_path), execution=ExecutionConfig(devices=2))
    with pytest.raises(PrivacyError, match="devices = 2, but a private round"):
        train_round(model, clips, PLAN, where)
    assert all(torch.equal(before[name], item) for name, item in model.named_parameters())


@pytest.mark.parametrize(
    ("codes", "rank"),
    [
        ({0: LOST_PEER, 1: -9}, 1),  # the first saw that the second was gone
        ({0: 1, 1: -signal.SIGTERM}, 0),  # the launcher ended the second
        ({0: -signal.SIGTERM, 1: -signal.SIGTERM}, 0),  # somebody ended both
        ({0: LOST_PEER, 1: LOST_PEER, 2: -9}, 2),  # two waited too long for a third, then killed
    ],
)
def test_the_cause_is_not_who_noticed(codes: dict[int, int], rank: int) -> None:
    failures = {
        number: ProcessFailure(number, pid=1, exitcode=code, error_file="<NONE>")
        for number, code in codes.items()
    }
    assert _cause(failures).local_rank == rank


def test_a_process_takes_what_was_given(clips: ClipWindows, tmp_path: Path) -> None:
    """The fingerprint, which decides whether a saved round is gone on with, stays the same."""
    plan = PLAN.model_copy(update={"pretrain": PRETRAIN})
    where = context(state=tmp_path, proximal_mu=0.1, round=2)
    model, ranks = build_autoencoder(plan), Ranks(rank=1, world=2)
    with torch.no_grad():
        model.encoder.norm.bias.add_(0.25)
    terms = Terms(world=2, device="cpu", threads=1, parent=os.getpid())
    folder = JobFolder(tmp_path)
    folder.write_job(model, clips, plan, where, terms)
    theirs, their_clips, their_plan, there = folder.read_job(ranks)
    assert folder.terms() == terms
    assert there == replace(where, ranks=ranks)
    assert their_plan == plan
    fingerprints = {
        replace(job([1.0] * 24, of.pretrain, at), model=one, manifest=some.manifest).fingerprint()
        for one, some, of, at in (
            (model, clips, plan, where),
            (theirs, their_clips, their_plan, there),
        )
    }
    assert len(fingerprints) == 1


def test_a_process_takes_the_teacher_of_a_latent_round(clips: ClipWindows, tmp_path: Path) -> None:
    """Its stage and all three parts of the model; the teacher's weights are the ones given."""
    table = {"rounds": 5, "target": "latent", "teacher_rounds": 2}
    pretrain = PretrainConfig.model_validate(table)
    plan = PLAN.model_copy(update={"pretrain": pretrain})
    where = context(round=4, rounds=5, first=3)
    model = build_latent_predictor(plan)
    with torch.no_grad():
        model.teacher.norm.bias.add_(0.25)
    folder = JobFolder(tmp_path)
    terms = Terms(world=2, device="cpu", threads=1, parent=os.getpid())
    folder.write_job(model, clips, plan, where, terms)
    theirs, _, _, there = folder.read_job(Ranks())
    assert there == where and isinstance(theirs, LatentPredictor)
    assert digest(all_arrays(theirs)) == digest(all_arrays(model))
    assert not any(item.requires_grad for item in theirs.teacher.parameters())


def test_an_error_comes_back_as_what_it_was(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    assert folder.read_error(2) is None
    folder.write_error(1, StoreError("the store is gone."))
    found = folder.read_error(2)
    assert type(found) is StoreError
    assert str(found) == "the store is gone."


@pytest.mark.slow
def test_a_process_ends_with_its_parent_and_leaves_nothing(
    clips: ClipWindows, tmp_path: Path
) -> None:
    """A parent that is killed outright, while its process waits for another one to come."""
    folder = tmp_path / "round"
    folder.mkdir()
    terms = Terms(world=2, device="cpu", threads=1, parent=0)
    JobFolder(folder).write_job(build_autoencoder(PLAN), clips, PLAN, context(), terms)
    script = f"""
import json, os, pathlib, subprocess, sys, time
path = pathlib.Path({str(folder)!r}) / "job.json"
told = json.loads(path.read_text())
told["terms"]["parent"] = os.getpid()
path.write_text(json.dumps(told))
words = [sys.executable, "-m", "echofm_core.training.execution.worker", str(path.parent)]
print(subprocess.Popen(words, env={{**os.environ, "RANK": "0"}}, start_new_session=True).pid)
sys.stdout.flush()
time.sleep(600)
"""
    root = Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert parent.stdout
    worker = psutil.Process(int(parent.stdout.readline()))
    while not (folder / "meeting").exists():  # it has joined, and waits
        assert worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
    parent.kill()
    parent.wait()
    gone, _ = psutil.wait_procs([worker], timeout=120)
    assert gone
    assert not folder.exists()
