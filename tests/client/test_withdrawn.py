"""A patient who has withdrawn is in nothing that a site does, and the list names nobody."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest
import typer
from click.testing import Result
from flwr.app import Message
from typer.testing import CliRunner

from client.audit import FILE as AUDIT
from client.commands import register
from client.withdrawn import FILE, KEY
from echofm_core.contract import Action, SiteDescription, SiteResult, Update
from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.data.patients import pseudonym, read_secret, write_secret
from echofm_core.data.training_record import RECORD
from echofm_core.runtime.errors import DataRootError, ManifestError, PolicyError
from server.wire import read_reply
from simulations.engine import SiteSettings
from simulations.flower_private import become_server
from tests.federation.small import build_sites, small_plan
from tests.federation.test_hostile_server import Hospital, refusal

PLAN = small_plan(pretrain={"rounds": 0}, finetune={"rounds": 3, "tasks": ["ef"]})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    become_server()
    return build_sites(tmp_path_factory.mktemp("withdrawn"), ("alpha",))[0]


@pytest.fixture
def site(built: SiteSettings, tmp_path: Path) -> Hospital:
    """Patients alpha-p0 to p3 train, p4 and p5 test, a clip each."""
    hospital = Hospital(built, tmp_path)
    hospital.allow(min_patients=1)
    return hospital


def said(site: Hospital, *words: object, error: type[Exception] | None = None) -> str:
    """What `echofm client withdraw` prints; it may have to end with an error."""
    app = typer.Typer()
    register(app)
    command = ["client", "withdraw", str(site.folder), *map(str, words)]
    result: Result = CliRunner().invoke(app, command)
    assert type(result.exception) is (error or type(None)), result.output
    return result.output + str(result.exception or "")


def update(site: Hospital, number: int = 1) -> Update:
    return read_reply(site.ask(PLAN, Action.FINETUNE, round=number), Update)


def test_from_the_next_message_on_the_patient_is_in_no_count_training_test_or_record(
    site: Hospital,
) -> None:
    before = read_reply(site.ask(PLAN, Action.DESCRIBE), SiteDescription)
    assert (before.train_clips, before.labels, before.test_labels) == (4, {"ef": 4}, {"ef": 2})
    said(site, "alpha-p0")
    said(site, "alpha-p4")
    about = read_reply(site.ask(PLAN, Action.DESCRIBE), SiteDescription)
    assert (about.train_clips, about.train_patients) == (3, 3)
    assert (about.labels, about.test_labels) == ({"ef": 3}, {"ef": 1})
    assert dict(update(site).counts) == {"encoder": 3, "stf_net": 3, "heads.ef": 3}
    record = json.loads((site.folder / PLAN.run_name() / RECORD).read_text())
    assert len(record["parts"][0]["patients"]) == 3
    settings = {"floor": 1.0}
    result = read_reply(site.ask(PLAN, Action.EVALUATE, settings=settings), SiteResult)
    assert result.patients == {"ef": 1}
    tables = sorted((site.folder / PLAN.run_name()).glob("predictions*.parquet"))
    assert tables and all(b"alpha-p4" not in table.read_bytes() for table in tables)


def test_a_reply_that_was_trained_with_the_patient_is_not_sent_again(site: Hospital) -> None:
    first = update(site)
    said(site, "alpha-p1")
    assert (first.counts["encoder"], update(site).counts["encoder"]) == (4, 3)
    assert "part of models already" not in said(site, "alpha-p4"), "a test patient"
    assert f"training record of {PLAN.run_name()}: 1 of 1" in said(site, "alpha-p1")


def test_the_list_is_private_and_neither_it_nor_the_audit_nor_a_word_names_anybody(
    site: Hospital, tmp_path: Path
) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("alpha-p0\n\n alpha-p1 \nnobody\n")
    words = said(site, "--file", ids, error=ManifestError)
    assert "withdrawn: 2 patients with 2 clips, of whom 0 had been" in words
    assert "entry 3" in words
    words += said(site, "--list")
    assert "withdrawn: 2 patients; the manifest has 2 of them, with 2 clips" in words
    for name in (FILE, KEY):
        assert stat.S_IMODE((site.folder / name).stat().st_mode) == 0o600
    audit = (site.folder / AUDIT).read_text()
    assert "2 patients withdrawn" in audit
    for text in (words, audit, (site.folder / FILE).read_text()):
        assert "alpha-p" not in text and "nobody" not in text
    said(site, "alpha-p1", "--undo")
    assert "withdrawn: 1 patient;" in said(site, "--list")
    assert update(site).counts["encoder"] == 3


def test_a_hospitals_own_id_is_known_by_the_secret_that_hashed_it(
    built: SiteSettings, tmp_path: Path
) -> None:
    write_secret(tmp_path / "site.secret")
    secret = read_secret(tmp_path / "site.secret")
    rows = load_manifest(built.manifest)
    hashed = [pseudonym(secret, "echonet_dynamic/patient", name) for name in rows["patient_id"]]
    manifest = tmp_path / "manifest.parquet"
    save_manifest(rows.assign(patient_id=hashed), manifest)
    other = SiteSettings(name="alpha", manifest=manifest, store=built.store, state=tmp_path)
    site = Hospital(other, tmp_path)
    site.allow(min_patients=1)
    assert "no patient of" in said(site, "alpha-p0", error=ManifestError)
    assert "with 1 clip" in said(site, "alpha-p0", "--secret", tmp_path / "site.secret")
    assert update(site).counts["encoder"] == 3


def test_who_is_not_there_yet_can_be_entered_all_the_same(
    built: SiteSettings, tmp_path: Path
) -> None:
    rows, manifest = load_manifest(built.manifest), tmp_path / "manifest.parquet"
    save_manifest(rows[rows["patient_id"] != "alpha-p0"], manifest)
    other = SiteSettings(name="alpha", manifest=manifest, store=built.store, state=tmp_path)
    site = Hospital(other, tmp_path)
    site.allow(min_patients=1)
    said(site, "alpha-p0", "--absent")
    save_manifest(rows, manifest)
    assert update(site).counts["encoder"] == 3


def test_a_list_of_ids_may_begin_with_the_mark_of_an_editor(site: Hospital, tmp_path: Path) -> None:
    """With --absent, the first id would be entered as nobody's, and its patient trained on."""
    (ids := tmp_path / "ids.txt").write_text("alpha-p0\r\nalpha-p1\r\n", encoding="utf-8-sig")
    assert "2 patients with 2 clips" in said(site, "--file", ids, "--absent")


@pytest.mark.parametrize("option", [("--undo",), ("--absent",), ("--secret", "file")])
def test_a_list_takes_no_option_that_changes_it(site: Hospital, option: tuple[str, ...]) -> None:
    assert "--list changes nothing" in said(site, "--list", *option, error=SystemExit)


def test_nothing_is_done_where_the_list_or_its_key_cannot_be_read(site: Hospital) -> None:
    def why(message: Message) -> str:
        reason = refusal(message)
        assert str(site.folder) not in reason
        return reason

    said(site, "alpha-p0")
    shutil.move(site.folder / KEY, site.folder / "away")
    assert DataRootError.__name__ in why(site.ask(PLAN, Action.DESCRIBE))
    shutil.move(site.folder / "away", site.folder / KEY)
    (site.folder / FILE).write_text("[{}]")
    sentence = why(site.ask(PLAN, Action.FINETUNE))
    assert PolicyError.__name__ in sentence and "withdrawn.json cannot be read" in sentence
