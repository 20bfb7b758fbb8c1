"""Every line of `echofm client check` is looked at: a fault in each place, one at a time."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from client import checks_machine, checks_network, dry_step, flower_private
from client.approval import record_approval, withdraw
from client.commands import register
from client.preflight import Line, lasting_fault
from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.runtime.errors import PlanError
from server.provision import provision
from tests.client.conftest import Kit
from tests.federation.small import small_plan

#: What a hospital sees in order; `admission` needs a true SuperLink: test_deployment.py.
SUBJECTS = [
    *("settings", "manifest", "splits", "labels", "store", "state", "records", "disk", "memory"),
    *("shared_memory", "devices", "decoders", "step", "port", "keys", "proxy", "address"),
    *("server", "clock", "admission"),
]


def command(*words: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["client", *words], catch_exceptions=False)


def failed(lines: dict[str, Line]) -> list[str]:
    return [subject for subject, line in lines.items() if line.exit_code]


def test_what_holds_is_said_with_what_was_seen(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four training patients with an EF, two for testing; the server is no SuperLink."""
    monkeypatch.setattr(dry_step, "SECONDS", 0.2)
    lines = kit.lines(quick=False)
    assert list(lines) == SUBJECTS
    assert failed(lines) == ["admission"]
    assert lines["admission"].exit_code == 20
    assert "did not say whether it knows this site's key" in lines["admission"].words
    assert lines["manifest"].words == "6 clips"
    assert lines["splits"].words == "patients are 2 test, 4 train, nobody in two"
    assert lines["labels"].words == "6 clips with ef"
    assert lines["store"].words.startswith("6 clips of the manifest are in")
    assert "certificate of the kit's authority until" in lines["server"].words
    assert "the audit has 0 lines and the privacy ledger 0 lines" in lines["records"].words
    assert "a round of a tiny model takes" in lines["disk"].words
    steps = lines["step"].words.split("; ")
    assert [words.partition(":")[0] for words in steps] == ["pretrain", "finetune"]
    assert all("clips a second with a tiny model (no plan approved yet)" in it for it in steps)
    assert "not compared" in lines["clock"].words, "it answers no HTTP"


def test_a_step_is_one_of_the_plan_that_was_approved_last(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps of two clips a round of each phase; a plan whose labels are not here fails."""
    monkeypatch.setattr(dry_step, "SECONDS", 0.1)
    for plan in (
        small_plan().model_copy(update={"name": "first"}),
        small_plan(pretrain={"rounds": 0}),
    ):
        record_approval(kit.folder, plan)
    said = kit.lines(quick=False)["step"].words
    assert f"(the plan {plan.run_name()}), a round of 3 steps of 2 takes about" in said
    assert "pretrain" not in said
    withdraw(kit.folder, plan.run_name())
    assert "the plan first-" in kit.lines(quick=False)["step"].words
    record_approval(kit.folder, small_plan(pretrain={"rounds": 0}, finetune={"tasks": ["edv"]}))
    line = kit.lines(quick=False)["step"]
    assert line.exit_code == 13 and "no phase has a clip to train on" in line.words


def test_faults_of_the_machine_are_told(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.set('device = "cuda:63"')
    (kit.folder / "state").mkdir(mode=0o755)
    (kit.folder / "state" / "audit.jsonl").write_text("{}\n")
    monkeypatch.setattr(checks_machine, "_free_memory", lambda: 10**8)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    lines = kit.lines()
    codes = {subject: line.exit_code for subject, line in lines.items() if line.exit_code}
    assert codes == {"records": 25, "memory": 30, "devices": 30, "decoders": 30, "admission": 20}
    assert "line 1 is not one of its records" in lines["records"].words
    assert "device 'cuda:63' cannot be used here" in lines["devices"].words
    assert "pydicom does not load" in lines["decoders"].words
    assert "its owner's alone now" in lines["state"].words
    assert (kit.folder / "state").stat().st_mode & 0o777 == 0o700


def test_a_store_that_lacks_too_many(kit: Kit) -> None:
    frame = load_manifest(kit.manifest)
    frame.loc[:1, "clip_id"] = ["new-1", "new-2"]
    frame.to_parquet(kit.manifest, index=False)
    assert not kit.lines()["store"].exit_code
    kit.set("max_unusable = 0.3")
    line = kit.lines()["store"]
    assert line.exit_code == 15 and "2 clips are of 6 not in" in line.words


def test_garbage_for_a_manifest(kit: Kit) -> None:
    kit.manifest.write_text("garbage\n")
    lines = kit.lines()
    assert failed(lines) == ["manifest", "admission"] and lines["manifest"].exit_code == 12
    assert "cannot be read" in lines["manifest"].words and "labels" not in lines
    assert lines["store"].words.startswith("6 clips are in")


def test_a_manifest_without_rows(kit: Kit) -> None:
    save_manifest(load_manifest(kit.manifest).head(0), kit.manifest)
    assert "holds no clip" in kit.lines()["manifest"].words


def test_a_patient_in_two_splits(kit: Kit) -> None:
    kit.change(patient_id="one")
    assert "1 patient is in more than one split" in kit.lines()["manifest"].words


def test_nobody_to_train_on(kit: Kit) -> None:
    kit.change(split="test")
    line = kit.lines()["splits"]
    assert line.exit_code == 13 and "nobody is in the split `train`" in line.words


def test_what_is_no_fault_is_said_all_the_same(kit: Kit) -> None:
    kit.change(split="train", ef=None)
    lines = kit.lines()
    assert "the model is not tested here" in lines["splits"].words
    assert lines["labels"].words == "none: this site takes part in pre-training only"
    kit.change(split=None)
    assert kit.lines()["splits"].words.startswith("none in the manifest: each plan cuts")
    assert failed(lines) == ["admission"]


def test_an_empty_store(kit: Kit) -> None:
    shutil.rmtree(kit.folder / "stores")
    (kit.folder / "stores").mkdir()
    assert kit.lines()["store"].exit_code == 15


def test_a_store_of_other_clips(kit: Kit) -> None:
    kit.change(clip_id=[f"other-{number}" for number in range(6)])
    line = kit.lines()["store"]
    assert line.exit_code == 15 and "no clip of the manifest is in" in line.words


def test_a_store_of_some_clips(kit: Kit) -> None:
    frame = load_manifest(kit.manifest)
    more = frame.assign(clip_id="new-" + frame["clip_id"], patient_id="new-" + frame["patient_id"])
    pd.concat([frame, more]).to_parquet(kit.manifest, index=False)
    line = kit.lines()["store"]
    assert not line.exit_code and "6 clips are not in it and will not be used" in line.words


def test_a_store_without_its_frames(kit: Kit) -> None:
    for frames in (kit.folder / "stores").rglob("*.npy"):
        frames.unlink()
    assert kit.lines()["store"].exit_code == 15


def test_a_state_that_cannot_be_written_to(kit: Kit) -> None:
    (kit.folder / "state").write_text("a file")
    assert "cannot be written to" in kit.lines()["state"].words


def test_the_command_says_every_line_and_ends_with_the_first_fault(kit: Kit) -> None:
    kit.manifest.write_text("garbage\n")
    said = command("check", str(kit.folder), "--port", str(kit.port))
    assert said.exit_code == 12
    assert "ok: settings: " in said.output and "FAIL: manifest: " in said.output
    assert "ok: server: " in said.output
    (kit.folder / "site.toml").write_text("name = ")
    said = command("check", str(kit.folder))
    assert said.exit_code == 10 and said.output.count("\n") == 1


def test_start_starts_nothing_where_a_line_fails(kit: Kit) -> None:
    kit.manifest.write_text("garbage\n")
    said = command("start", str(kit.folder), "--port", str(kit.port))
    assert said.exit_code == 12 and not (kit.folder / "flwr").exists()


def test_what_no_further_start_mends_is_told_from_what_passes(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is no SuperLink, or is not there, may be one tomorrow."""
    settings = kit.folder / "site.toml"
    before = settings.read_text()
    assert lasting_fault(kit.folder, kit.port) is None
    settings.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", before))
    assert lasting_fault(kit.folder, kit.port) is None
    settings.write_text("name = 3")
    assert isinstance(lasting_fault(kit.folder, kit.port), PlanError)
    settings.write_text(before)
    with monkeypatch.context() as asked:
        asked.setattr(flower_private, "key_is_admitted", lambda *_: False)
        asked.setattr(checks_network, "PATIENCE", 0.5)
        assert "does not know this site's key" in str(lasting_fault(kit.folder, kit.port))
    other = provision(tmp_path / "other", "127.0.0.1", 443)[0]
    shutil.copy(other.authority, kit.folder / "ca.crt")
    assert "certificate verify failed" in str(lasting_fault(kit.folder, kit.port))
