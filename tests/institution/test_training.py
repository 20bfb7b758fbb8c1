"""One institution by itself: kept after each round, gone on with to the same bits, stopped."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.contract import ENCODER, Phase, Weights, group_of
from echofm_core.data.manifest import Split
from echofm_core.institution.data import InstitutionData, prepare
from echofm_core.institution.run_folder import RoundEntry, RunFolder
from echofm_core.institution.training import train
from echofm_core.models.saved import load_model, load_weights
from echofm_core.models.weights import load_metadata, save
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan, plan_from_mapping
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, PrivacyError, ResumeError
from echofm_core.training.validation import validation_loss
from tests.data.files import speckle, write_avi
from tests.institution.conftest import PLAN, write_home
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
def data(institution: Path) -> InstitutionData:
    return prepare(load_plan(institution / "plan.toml"), institution / "cache")


def claim(plan: Plan, path: Path, phase: Phase = Phase.FINETUNE, **more: object) -> RunFolder:
    return RunFolder.claim(path, phase, plan, str(more.get("start", "")), bool(more.get("resume")))


def changed(plan: Plan, **tables: dict[str, object]) -> Plan:
    values = plan.decisive()
    for name, table in tables.items():
        values[name] = {**values[name], **table}
    return plan_from_mapping(values, "of a test").model_copy(update={"machine": plan.machine})


def test_official_splits_are_kept_and_patients_apart(data: InstitutionData, plan: Plan) -> None:
    assert data.summary(plan, Phase.FINETUNE) == (
        "10 clips to train on, 4 to validate, 6 to test, of 20 patients; 0 files cannot be used"
    )
    counts = {split: len(data.windows(split, plan, Phase.FINETUNE)) for split in Split}
    assert counts == {Split.TRAIN: 10, Split.VALIDATION: 4, Split.TEST: 6}
    assert len(data.windows(None, plan, Phase.PRETRAIN)) == 20
    elsewhere = changed(plan, protocol={"views": ["PLAX"]})
    assert len(data.windows(Split.TRAIN, elsewhere, Phase.FINETUNE)) == 0
    assert len(data.windows(Split.TRAIN, elsewhere, Phase.PRETRAIN)) == 10


@pytest.mark.parametrize(
    ("phase", "mode"),
    [(Phase.PRETRAIN, "full"), (Phase.FINETUNE, "full"), (Phase.FINETUNE, "lora")],
)
def test_stopped_after_any_round_and_gone_on_with_to_the_same_bits(
    data: InstitutionData, plan: Plan, tmp_path: Path, phase: Phase, mode: str
) -> None:
    plan = changed(plan, finetune={"mode": mode})

    class StopHereError(Exception):
        pass

    train(plan, data, claim(plan, tmp_path / "whole", phase))

    def stop(entry: RoundEntry) -> None:
        raise StopHereError

    rounds = plan.pretrain.rounds if phase is Phase.PRETRAIN else plan.finetune.rounds
    for _ in range(rounds):
        with pytest.raises(StopHereError):
            train(plan, data, claim(plan, tmp_path / "cut", phase, resume=True), on_round=stop)
    train(plan, data, claim(plan, tmp_path / "cut", phase, resume=True))
    assert _model(tmp_path / "cut") == _model(tmp_path / "whole")
    first, second = (claim(plan, tmp_path / name, phase, resume=True) for name in ("whole", "cut"))
    assert [entry.digest for entry in first.entries()] == [
        entry.digest for entry in second.entries()
    ]
    assert len(first.entries()) == rounds


def test_a_kill_between_entry_and_weights_loses_no_round(
    data: InstitutionData, plan: Plan, tmp_path: Path
) -> None:
    """The state that such a kill leaves, made by hand: the entry counts, its file is not named."""
    run = claim(plan, tmp_path / "run")
    train(plan, data, run)
    weights = tmp_path / "run/checkpoints"
    (weights / "finetune-last.safetensors").rename(weights / "finetune-round-4.safetensors")
    (weights / "finetune-round-5.safetensors").write_bytes(b"half")
    run.recover()
    assert sorted(path.name for path in weights.iterdir()) == [
        "finetune-best.safetensors", "finetune-last.safetensors",
    ]  # fmt: skip
    assert run.last()


def test_the_best_round_is_the_model(data: InstitutionData, plan: Plan, tmp_path: Path) -> None:
    """Ten patients are learnt by heart in a few rounds; then validation only gets worse."""
    longer = changed(plan, finetune={"rounds": 10})
    run = claim(longer, tmp_path / "run")
    train(longer, data, run)
    losses = [entry.metrics["validation"] for entry in run.entries()]
    best = int(np.argmin(losses)) + 1
    assert run.entries()[-1].best == best < len(losses)
    assert load_model(tmp_path / "run").digest == run.entries()[best - 1].digest


def test_patience_ends_a_run_that_gets_no_better(
    data: InstitutionData, plan: Plan, tmp_path: Path
) -> None:
    patient = changed(plan, finetune={"rounds": 12, "patience": 2})
    run = claim(patient, tmp_path / "run")
    train(patient, data, run)
    last = run.entries()[-1]
    assert last.round - last.best == 2
    assert last.round < 12


def test_it_starts_from_a_pretrained_encoder(
    data: InstitutionData, plan: Plan, tmp_path: Path
) -> None:
    train(plan, data, claim(plan, tmp_path / "mae", Phase.PRETRAIN))
    start = load_weights(tmp_path / "mae")
    frozen = changed(plan, finetune={"mode": "linear", "rounds": 1})
    run = claim(frozen, tmp_path / "run", start="digest")
    train(frozen, data, run, start=start)
    ours, theirs = _group(run.best(), ENCODER), _group(start, ENCODER)
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)
    with pytest.raises(CheckpointError, match="no encoder"):
        heads = {name: array for name, array in start.items() if group_of(name) != ENCODER}
        train(frozen, data, claim(frozen, tmp_path / "other"), start=heads)


def _model(run: Path) -> tuple[str, dict[str, str]]:
    """Digest of the weights as they lie on disk, and all that their header says."""
    file = run / "model/model.safetensors"
    return digest(load_weights(file)), load_metadata(file)


def _group(weights: Weights, group: str) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in weights.items() if group_of(name) == group}


def test_a_folder_of_another_run_is_refused(plan: Plan, tmp_path: Path) -> None:
    claim(plan, tmp_path / "run")
    elsewhere = plan.machine.model_copy(update={"cache": "mended"})
    claim(plan.model_copy(update={"machine": elsewhere}), tmp_path / "run")
    assert load_plan(tmp_path / "run/plan.toml").machine.cache.endswith("mended")
    (tmp_path / "run/journal").mkdir()  # until now nothing was trained, so nothing was to lose
    (tmp_path / "run/journal/finetune-00001.json").write_text("{}")
    for other, said in (
        ({"phase": Phase.PRETRAIN}, r"another phase \(finetune, not pretrain\);"),
        ({"start": "abc"}, r"other weights to --start from \(digest none, not abc\);"),
        (
            {"plan": changed(plan, finetune={"rounds": 9})},
            rf"another plan \(hash {plan.digest()[:12]}",
        ),
    ):
        with pytest.raises(ResumeError, match=said):
            claim(**{"plan": plan, "path": tmp_path / "run", "resume": True, **other})  # type: ignore[arg-type]
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(ResumeError, match="not empty"):
        claim(plan, tmp_path / "full")


def test_adapters_are_merged_into_the_model(
    data: InstitutionData, plan: Plan, tmp_path: Path
) -> None:
    """What the run measured with adapters beside the encoder, the plain model file gives too."""
    tuned = changed(plan, finetune={"mode": "lora", "learning_rate": 1e-2})
    run = claim(tuned, tmp_path / "run")
    with pytest.warns(RuntimeWarning, match="adapters on it learn little"):
        train(tuned, data, run)
    saved, best = load_model(tmp_path / "run"), run.entries()[-1].best
    assert {name.partition(".")[0] for name in run.last()} > {"lora_a", "lora_b", "encoder"}
    held_out = data.windows(Split.VALIDATION, tuned, Phase.FINETUNE)
    told = run.entries()[best - 1].metrics["validation"]
    assert validation_loss(
        saved.model, held_out, tuned, site="institution", device="cpu"
    ) == pytest.approx(told, rel=1e-5)
    name = "encoder.blocks.0.attn.qkv.weight"
    merged, base = load_weights(tmp_path / "run")[name], run.last()[name]
    assert np.abs(merged - base).max() > 1e-4


def test_a_private_plan_is_refused(data: InstitutionData, plan: Plan, tmp_path: Path) -> None:
    private = changed(plan, privacy={"kind": "local", "noise_multiplier": 1.0, "delta": 1e-3})
    with pytest.raises(PrivacyError, match="federation"):
        train(private, data, claim(private, tmp_path / "run"))


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
    ended("pretrain", home / "plan.toml", "--out", home / "mae")
    tune = ("finetune", home / "plan.toml", "--start", home / "mae")
    ended(*tune, "--out", home / "whole")
    process = forks.start(ECHOFM, *tune, "--out", home / "cut", out=Path(os.devnull))
    while process.poll() is None and not (home / "cut/journal/finetune-00001.json").exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    done = ended(*tune, "--out", home / "cut", "--resume")
    assert "EF MAE" in done
    assert _model(home / "cut") == _model(home / "whole")
    curves = [tensorboard_curves(home / name)["finetune/loss"] for name in ("cut", "whole")]
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


def test_weights_of_a_round_that_never_counted_are_nobodys(tmp_path: Path) -> None:
    """Killed between the best weights and the first entry, the folder is free for another plan,
    which, without a validation set, writes no best weights of its own."""
    plan = Plan()
    first = claim(plan, tmp_path)
    stale = {"encoder.bias": np.ones(2, np.float32)}
    save(stale, tmp_path / "checkpoints" / "finetune-best.safetensors", {"round": "1"})
    second = claim(plan.model_copy(update={"seed": 1}), tmp_path)
    second.recover()
    assert first.best() == second.best() == {}
