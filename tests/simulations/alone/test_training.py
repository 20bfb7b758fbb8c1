"""One institution by itself: kept after each round, gone on with to the same bits, stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.site import Site
from echofm_core.contract import ENCODER, Phase, Weights, group_of
from echofm_core.data.prepare import Prepared
from echofm_core.data.store.clip_store import open_stores
from echofm_core.models.saved import load_model, load_weights
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from echofm_core.runtime.array_files import load_metadata, save
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, PlanError, PrivacyError, ResumeError
from echofm_core.training.objectives.phases import validation_loss
from server.events import Event
from server.rounds import run_federation
from simulations.alone import plan_of_one, summary, train_alone
from simulations.engine import Engine, SiteSettings
from tests.data.files import speckle, write_avi
from tests.simulations.alone.conftest import PLAN, write_home
from tests.simulations.alone.runs import changed, checkpoint, entries, losses, prepared_at, train
from tests.support.commands import ECHOFM, Echofm
from tests.support.forks import Forks
from tests.tracking.read import tensorboard_curves


@pytest.fixture(scope="module")
def institution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that nobody changes: runs go elsewhere."""
    return write_home(tmp_path_factory.mktemp("institution"))


@pytest.fixture
def plan(institution: Path) -> Plan:
    return load_plan(institution / "plan.toml")


@pytest.fixture(scope="module")
def data(institution: Path) -> Prepared:
    return prepared_at(load_plan(institution / "plan.toml"), institution / "cache")


@pytest.fixture(scope="module")
def trained(
    institution: Path, data: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Phase], Path]:
    """Uninterrupted runs of the plan, each once, by phase; read and never changed."""

    @lru_cache
    def run(phase: Phase) -> Path:
        folder = tmp_path_factory.mktemp(phase.value) / "run"
        train(load_plan(institution / "plan.toml"), data, folder, phase)
        return folder

    return run


def test_official_splits_are_kept_and_patients_apart(data: Prepared, plan: Plan) -> None:
    assert summary(data, Phase.FINETUNE, plan.protocol.views) == (
        "10 clips to train on, 4 to validate, 6 to test, of 20 patients; 0 files cannot be used"
    )
    views = changed(plan, protocol={"views": ["PLAX"]}).protocol.views
    assert summary(data, Phase.FINETUNE, views).startswith("0 clips to train on, 0 to validate")
    assert summary(data, Phase.PRETRAIN, views).startswith("10 clips to train on, 4 to")


@pytest.mark.parametrize("phase", list(Phase))
def test_it_is_a_federation_of_one_site_to_the_bit(
    institution: Path, plan: Plan, tmp_path: Path, phase: Phase
) -> None:
    """The command's run, and a federation of one that is put together by hand."""
    alone = train_alone(plan, phase, tmp_path / "alone")
    own = plan_of_one(plan, phase)
    assert own.digest() == load_plan(tmp_path / "alone/plan.toml").digest()
    assert own.table_of(phase).keep_optimizer, "there is no server to begin anew from"
    assert list((tmp_path / "alone/sites").rglob(f"optimizer/{phase.value}-*"))
    site = SiteSettings(
        name="institution",
        manifest=tmp_path / "alone/manifests/institution.parquet",
        store=institution / "cache/stores",
        state=tmp_path / "state",
    )
    with Engine(execution=own.machine) as engine:
        federation = run_federation(engine.grid([site]), own, tmp_path / "run")
    assert federation.digest == alone.digest == _model(tmp_path / "alone")[0]
    ours, theirs = entries(tmp_path / "alone"), entries(tmp_path / "run")
    assert len(ours) == own.rounds_of(phase)
    assert [entry["digest"] for entry in ours] == [entry["digest"] for entry in theirs]
    assert losses(tmp_path / "alone") == losses(tmp_path / "run")


@pytest.mark.parametrize(
    ("phase", "mode"),
    [(Phase.PRETRAIN, "full"), (Phase.FINETUNE, "full"), (Phase.FINETUNE, "lora")],
)
@pytest.mark.filterwarnings("ignore:finetune.mode")
def test_stopped_after_any_round_and_gone_on_with_to_the_same_bits(
    data: Prepared,
    plan: Plan,
    trained: Callable[[Phase], Path],
    tmp_path: Path,
    phase: Phase,
    mode: str,
) -> None:
    if mode == "full":
        whole = trained(phase)
    else:
        plan, whole = changed(plan, finetune={"mode": mode}), tmp_path / "whole"
        train(plan, data, whole, phase)

    class StopHereError(Exception):
        pass

    def stop(event: Event) -> None:
        if event.round_done and not event.replayed:
            raise StopHereError

    rounds = plan.rounds_of(phase)
    for _ in range(rounds):
        with pytest.raises(StopHereError):
            train(plan, data, tmp_path / "cut", phase, on_event=stop)
    train(plan, data, tmp_path / "cut", phase)
    assert _model(tmp_path / "cut") == _model(whole)
    first, second = entries(whole), entries(tmp_path / "cut")
    assert [entry["digest"] for entry in first] == [entry["digest"] for entry in second]
    assert losses(whole) == losses(tmp_path / "cut")
    assert len(first) == rounds


def test_the_best_round_is_the_model(data: Prepared, plan: Plan, tmp_path: Path) -> None:
    """Ten patients are learnt by heart in a few rounds; then validation only gets worse."""
    longer = changed(plan, finetune={"rounds": 10})
    train(longer, data, tmp_path / "run")
    best = int(np.argmin(losses(tmp_path / "run"))) + 1
    assert best < 10
    assert load_model(tmp_path / "run").digest == entries(tmp_path / "run")[best - 1]["digest"]
    last = changed(plan, finetune={"rounds": 10}, federation={"select": "last"})
    train(last, data, tmp_path / "last")
    assert load_model(tmp_path / "last").digest == entries(tmp_path / "last")[-1]["digest"]
    assert losses(tmp_path / "last") == losses(tmp_path / "run")


def test_patience_ends_a_run_that_gets_no_better(
    data: Prepared, plan: Plan, tmp_path: Path
) -> None:
    """Two rounds were no better; it is known when the next one is over."""
    patient = changed(plan, finetune={"rounds": 12, "patience": 2})
    train(patient, data, tmp_path / "run")
    found = losses(tmp_path / "run")
    assert len(found) == int(np.argmin(found[:-1])) + 1 + 2 + 1 < 12


def test_it_starts_from_a_pretrained_encoder(
    data: Prepared, plan: Plan, trained: Callable[[Phase], Path], tmp_path: Path
) -> None:
    start = load_weights(trained(Phase.PRETRAIN))
    assert {group_of(name) for name in start} == {ENCODER, "decoder"}
    frozen = changed(plan, finetune={"mode": "linear", "rounds": 1})
    train(frozen, data, tmp_path / "run", weights=start)
    ours, theirs = _group(load_weights(tmp_path / "run"), ENCODER), _group(start, ENCODER)
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)
    with pytest.raises(CheckpointError, match="no encoder"):
        heads = {name: array for name, array in start.items() if group_of(name) != ENCODER}
        train(frozen, data, tmp_path / "other", weights=heads)


def test_it_starts_from_all_groups_of_a_model(
    data: Prepared, plan: Plan, trained: Callable[[Phase], Path], tmp_path: Path
) -> None:
    """At a learning rate of 1e-9 heads and STF-Net end as they were given."""
    start = load_weights(trained(Phase.FINETUNE))
    still = changed(plan, finetune={"rounds": 1, "learning_rate": 1e-9})
    train(still, data, tmp_path / "second", weights=start)
    found = load_weights(tmp_path / "second")
    assert max(np.abs(found[name] - start[name]).max() for name in start) < 1e-6


def _model(run: Path) -> tuple[str, dict[str, str]]:
    """Digest of the weights as they lie on disk, and all that their header says."""
    file = run / "model/model.safetensors"
    return digest(load_weights(file)), load_metadata(file)


def _group(weights: Weights, group: str) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in weights.items() if group_of(name) == group}


def test_a_folder_of_another_run_is_refused(plan: Plan, tmp_path: Path) -> None:
    run = tmp_path / "run"
    short = changed(plan, finetune={"rounds": 1})
    train_alone(short, Phase.FINETUNE, run)
    pretrained = tmp_path / "mae"
    train_alone(changed(plan, pretrain={"rounds": 1}), Phase.PRETRAIN, pretrained)
    given = load_metadata(pretrained / "model/model.safetensors")["digest"]
    own = plan_of_one(short, Phase.FINETUNE).digest()
    for other, said in (
        ({"phase": Phase.PRETRAIN}, r"another phase \(finetune, not pretrain\);"),
        (
            {"start": pretrained},
            rf"other weights to --start from \(digest none, not {given[:12]}\);",
        ),
        ({"plan": changed(plan, finetune={"rounds": 9})}, rf"another plan \(hash {own[:12]}"),
    ):
        with pytest.raises(ResumeError, match=said):
            train_alone(**{"plan": short, "phase": Phase.FINETUNE, **other}, run=run, resume=True)  # type: ignore[arg-type]
    with pytest.raises(ResumeError, match="already holds a run; continue it with --resume"):
        train_alone(short, Phase.FINETUNE, run)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(ResumeError, match="not empty"):
        train_alone(plan, Phase.FINETUNE, tmp_path / "full")


def test_adapters_are_merged_into_the_model(
    institution: Path, data: Prepared, plan: Plan, tmp_path: Path
) -> None:
    """What the run measured with adapters beside the encoder, the plain model file gives too."""
    tuned = changed(plan, finetune={"mode": "lora", "learning_rate": 1e-2})
    run = tmp_path / "run"
    with pytest.warns(RuntimeWarning, match="adapters on it learn little"):
        train(tuned, data, run)
    saved, best = load_model(run), int(np.argmin(losses(run))) + 1
    apart = checkpoint(run, best)
    assert {name.partition(".")[0] for name in apart} > {"lora_a", "lora_b", "encoder"}
    site = Site(
        name="institution",
        manifest=data.manifest,
        store=open_stores(data.stores),
        data=tuned.data,
        finetune=tuned.finetune,
        seed=tuned.seed,
    )
    held_out = site.validation_clips(Phase.FINETUNE)
    found = validation_loss(saved.model, held_out, tuned, site="institution", device="cpu")
    assert found == pytest.approx(losses(run)[best - 1], rel=1e-5)
    name = "encoder.blocks.0.attn.qkv.weight"
    merged, base = load_weights(run)[name], apart[name]
    assert np.abs(merged - base).max() > 1e-4


def test_plans_that_one_institution_cannot_train_are_refused(plan: Plan, tmp_path: Path) -> None:
    private = changed(plan, privacy={"kind": "local", "noise_multiplier": 1.0, "delta": 1e-3})
    with pytest.raises(PrivacyError, match="federation"):
        train_alone(private, Phase.FINETUNE, tmp_path / "run")
    nothing = changed(plan, finetune={"rounds": 0})
    with pytest.raises(PlanError, match=r"finetune\.rounds is 0"):
        train_alone(nothing, Phase.FINETUNE, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_the_site_met_ends_the_command_as_the_error_that_it_was(
    data: Prepared, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own exit code; of what is no error of ours the log is named."""
    met: list[Exception] = [PlanError("here it is."), KeyError("Doe^John")]

    def fail(*_: object) -> None:
        raise met[0]

    monkeypatch.setattr("client.training.train_round", fail)
    with pytest.raises(PlanError, match=r"^here it is"):
        train(plan, data, tmp_path / "run")
    del met[0]
    with pytest.raises(Exception, match=r"KeyError; .*sites/institution/site\.log") as caught:
        train(plan, data, tmp_path / "run")
    assert "Doe" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_killed_and_gone_on_with(echofm: Echofm, forks: Forks, home: Path) -> None:
    """pretrain, then finetune killed with SIGKILL after its first round and resumed, then
    evaluate and predict: the real command, real processes. TensorBoard has each round once."""

    def ended(*words: object) -> str:
        done = echofm(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (home / "plan.toml").write_text(PLAN + 'track = ["tensorboard"]\n')
    printed = ended("pretrain", home / "plan.toml", "--out", home / "mae")
    assert printed.startswith("warning: pretrain.mask_ratio")  # 32 pixels in patches of 8: 4 x 4
    tune = ("finetune", home / "plan.toml", "--start", home / "mae")
    ended(*tune, "--out", home / "whole")
    process = forks.start(ECHOFM, *tune, "--out", home / "cut", out=Path(os.devnull))
    while process.poll() is None and not (home / "cut/journal/finetune-0001.json").exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    done = ended(*tune, "--out", home / "cut", "--resume")
    assert "EF MAE" in done
    assert _model(home / "cut") == _model(home / "whole")
    for curve in ("loss", "validation"):
        curves = [tensorboard_curves(home / name)[f"finetune/{curve}"] for name in ("cut", "whole")]
        assert curves[0] == curves[1] and [step for step, _ in curves[0]] == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(
        pd.read_parquet(home / "cut/scores.parquet"), pd.read_parquet(home / "whole/scores.parquet")
    )
    card = (home / "cut/model/README.md").read_text()
    assert "data of one institution" in card and "| institution |" in card
    everyone = ("--everything", "--seen")  # those that it was trained on too
    ended("evaluate", home / "cut", home / "data", *everyone, "--out", home / "all")
    scores = pd.read_parquet(home / "all/scores.parquet")
    assert set(scores.loc[scores["task"] == "ef", "patients"]) == {20}
    cine = write_avi(home / "own.avi", speckle(20, 96, 128))
    read = ended("predict", home / "cut", cine, "--form", "csv")
    assert read.startswith("file,task,value")


def test_weights_of_a_round_that_never_counted_are_nobodys(
    data: Prepared, plan: Plan, tmp_path: Path
) -> None:
    """Killed between the weights and the first entry, the folder is free for another plan."""
    stale = {"encoder.bias": np.ones(2, np.float32)}
    save(stale, tmp_path / "run/checkpoints/finetune-0001.safetensors", {"digest": "x"})
    save(stale, tmp_path / "run/checkpoints/finetune-0007.safetensors", {"digest": "x"})
    short = changed(plan, finetune={"rounds": 1})
    train(short, data, tmp_path / "run")
    train(short, data, tmp_path / "clean")
    assert _model(tmp_path / "run") == _model(tmp_path / "clean")
