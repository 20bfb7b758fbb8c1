"""Every message leaves a line at the site before its reply leaves; changed lines are found."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from client.approval import record_approval
from client.audit import FILE
from client.launch import load_site
from echofm_core.contract import Action, SiteDescription, SiteResult, Update
from echofm_core.privacy.ledger import FILE as LEDGER
from echofm_core.runtime.chained_log import ChainedLog
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import RefusedUpdateError
from echofm_core.runtime.installed_code import code_digest
from server.admission import check_heads
from server.wire import read_reply
from simulations.engine import SiteSettings
from simulations.flower_private import become_server
from simulations.workers import answer, load_client_app
from tests.federation.small import build_sites
from tests.federation.test_hostile_server import Hospital, private, refusal
from tests.support.commands import Echofm

PLAN = private()


@dataclass
class Asked:
    """A site that was asked four times."""

    folder: Path
    refused: Message
    first: Update
    again: Update


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    become_server()
    return build_sites(tmp_path_factory.mktemp("audit"), ("alpha",))[0]


@pytest.fixture(scope="module")
def asked(built: SiteSettings, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    hospital = Hospital(built, tmp_path_factory.mktemp("asked"))
    hospital.allow(min_patients=1, max_evaluations=0)
    hospital.ask(PLAN, Action.DESCRIBE)
    refused = hospital.ask(PLAN, Action.EVALUATE)
    first = read_reply(hospital.ask(PLAN, Action.FINETUNE), Update)
    again = read_reply(hospital.ask(PLAN, Action.FINETUNE), Update)
    return Asked(hospital.folder, refused, first, again)


@pytest.fixture
def copy(asked: Asked, tmp_path: Path) -> Path:
    """A copy of that site's folder, which is its state folder too."""
    folder = Path(shutil.copytree(asked.folder, tmp_path / "copy"))
    settings = folder / "site.toml"
    settings.write_text(settings.read_text().replace(str(asked.folder), str(folder)))
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_a_line_says_who_asked_for_what_and_what_left(asked: Asked) -> None:
    described, refused, first, again = records(asked.folder)
    for record, action in ((described, "query.describe"), (refused, "evaluate.site")):
        assert (record["action"], record["round"]) == (action, 0)
    for record in (described, refused, first, again):
        assert (record["run"], record["plan"]) == (PLAN.run_name(), PLAN.digest())
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record["when"])
    assert described["sent"]["config"]["train-patients"] == 4 and not described["sent"]["groups"]
    assert refused["outcome"] == "refused" and "max_evaluations = 0" in refused["sentence"]
    assert refused["sentence"] == refusal(asked.refused), "as it left"
    sent, update = first["sent"], asked.first
    assert (first["action"], first["round"]) == ("train.finetune", 1)
    assert sent["metrics"] == dict(update.metrics) and "epsilon" in sent["metrics"]
    assert sent["groups"] == ["encoder", "heads.ef", "stf_net"] == sorted(update.counts)
    assert sent["bytes"] == sum(array.nbytes for array in update.weights.values())
    assert sent["digest"] == digest({**update.weights, **update.extra})
    assert "again" not in first and again["again"] is True
    assert again["sent"] == sent, "the same bytes and numbers"


def test_the_heads_of_audit_and_ledger_travel_with_each_update(asked: Asked) -> None:
    """That of the audit is the line of the update itself, so that a cut of it alone is seen."""
    assert [asked.first.audit_head, asked.again.audit_head] == [
        record["hash"] for record in records(asked.folder)[2:]
    ]
    ledger = ChainedLog(asked.folder / LEDGER).head
    assert ledger and asked.first.ledger_head == asked.again.ledger_head == ledger


def test_each_kind_of_answer_says_by_which_rules_it_left(
    built: SiteSettings, tmp_path: Path
) -> None:
    """Heads, policy and approval: what a governance office files is held against the site by."""
    hospital = Hospital(built, tmp_path)
    hospital.allow(min_patients=1, approved_plans="required")
    approved = record_approval(tmp_path, PLAN).digest()
    answers = [
        read_reply(hospital.ask(PLAN, Action.DESCRIBE), SiteDescription),
        read_reply(hospital.ask(PLAN, Action.FINETUNE), Update),
        read_reply(hospital.ask(PLAN, Action.FINETUNE), Update),
        read_reply(hospital.ask(PLAN, Action.EVALUATE), SiteResult),
    ]
    lines = records(tmp_path)
    assert [answer.audit_head for answer in answers] == [line["hash"] for line in lines]
    assert lines[2]["again"] is True
    ledger = ChainedLog(tmp_path / LEDGER).head
    assert [answer.ledger_head for answer in answers] == ["", ledger, ledger, ledger]
    policy = load_site(tmp_path).policy
    assert {answer.policy_hash for answer in answers} == {policy.digest()}
    assert {answer.approval_hash for answer in answers} == {approved}
    about = answers[0]
    assert isinstance(about, SiteDescription) and about.min_patients == 1
    assert about.software.startswith("echofm-federated ") and code_digest() in about.software
    hospital.allow(min_patients=1, approved_plans="required", digits=3)
    again = read_reply(hospital.ask(PLAN, Action.FINETUNE), Update)
    assert again.policy_hash == load_site(tmp_path).policy.digest() != policy.digest(), "as it left"


@pytest.mark.parametrize("head", ["f" * 63, "F" * 64, "Doe^John", "0" * 64 + "\n"])
def test_a_head_is_a_hash_or_the_update_is_refused(asked: Asked, head: str) -> None:
    check_heads(replace(asked.first, audit_head=""))
    for name in ("audit_head", "ledger_head", "policy_hash", "approval_hash"):
        sentence = r"(head|hash) of its (audit|ledger|policy|approval) is "
        with pytest.raises(RefusedUpdateError, match=sentence):
            check_heads(replace(asked.first, **{name: head}))


def test_nothing_leaves_that_cannot_be_written_down(
    built: SiteSettings, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital = Hospital(built, copy)

    def full(self: ChainedLog, record: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ChainedLog, "append", full)
        sentence = refusal(hospital.ask(PLAN, Action.DESCRIBE))
    assert "AuditError" in sentence and "No space left on device" in sentence
    assert "error 25" in sentence and str(copy) not in sentence
    change(copy / FILE, 0)
    shutil.rmtree(copy / PLAN.run_name())
    assert "line 1 was changed" in refusal(hospital.ask(PLAN, Action.FINETUNE))
    assert not (copy / PLAN.run_name()).exists(), "refused before anything was done"


def test_a_damaged_ledger_lets_no_update_leave(built: SiteSettings, copy: Path) -> None:
    change(copy / LEDGER, 0)
    sentence = refusal(Hospital(built, copy).ask(PLAN, Action.FINETUNE))
    assert "AuditError" in sentence and "line 1 was changed" in sentence


def test_a_simulated_site_writes_no_audit(built: SiteSettings, tmp_path: Path) -> None:
    hospital = Hospital(built, tmp_path)
    hospital.allow(min_patients=1)
    message = hospital.ask(PLAN, Action.DESCRIBE)
    assert message.has_content() and (tmp_path / FILE).exists()
    (tmp_path / FILE).unlink()
    node = hospital.node | {"simulated": True}
    again = answer(load_client_app("client.app:app"), hospital.message(PLAN, Action.DESCRIBE), node)
    about = read_reply(again, SiteDescription)
    assert not (tmp_path / FILE).exists()
    assert (about.audit_head, about.policy_hash, about.approval_hash, about.software) == ("",) * 4


def test_an_error_leaves_with_a_reference_that_the_sites_log_has_too(asked: Asked) -> None:
    found = re.match(r"error 24, reference ([0-9a-f]{8}): PolicyError: ", refusal(asked.refused))
    assert found
    log = (asked.folder / "site.log").read_text()
    assert f"evaluate.site failed, reference {found[1]}\nTraceback" in log


def change(path: Path, line: int) -> None:
    """Change one byte of a line of a file."""
    rows = path.read_bytes().splitlines(keepends=True)
    rows[line] = rows[line].replace(b"0", b"1", 1)
    path.write_bytes(b"".join(rows))


def test_the_command_shows_and_verifies(copy: Path, asked: Asked, echofm: Echofm) -> None:
    shown = echofm("client", "audit", copy)
    first, second, third, fourth = shown.stdout.splitlines()
    assert "query.describe of " in first and first.endswith("sent counts")
    assert "refused: error 24, reference " in second
    assert "train.finetune round 1 of " in third and "encoder, heads.ef, stf_net (" in third
    assert "sent again, as it was kept: " in fourth
    listed = echofm("client", "audit", copy, "--json").stdout.splitlines()
    assert [json.loads(line)["outcome"] for line in listed] == ["answered", "refused"] + 2 * [
        "answered"
    ]
    verified = echofm("client", "audit", copy, "--verify")
    assert verified.returncode == 0
    assert f"ok: audit: 4 lines, whole; head {asked.again.audit_head}" in verified.stdout
    assert f"ok: privacy ledger: 1 line, whole; head {asked.again.ledger_head}" in verified.stdout
    heads = json.loads(echofm("client", "audit", copy, "--verify", "--json").stdout)
    assert heads["audit"]["head"] == asked.again.audit_head and heads["audit"]["lines"] == 4


@pytest.mark.parametrize(("file", "line"), [(FILE, 0), (FILE, 2), (FILE, 3), (LEDGER, 0)])
def test_one_changed_byte_fails_and_the_line_is_named(
    copy: Path, echofm: Echofm, file: str, line: int
) -> None:
    change(copy / file, line)
    for words in (("--verify",), ()):
        ended = echofm("client", "audit", copy, *words)
        assert ended.returncode == 25
        assert f"{file} cannot be used (line {line + 1} was changed" in ended.stderr


def test_a_cut_tail_shows_by_the_head_that_the_coordinator_kept(
    copy: Path, asked: Asked, echofm: Echofm
) -> None:
    head = asked.again.audit_head
    there = echofm("client", "audit", copy, "--verify", "--expect", asked.first.audit_head)
    assert there.returncode == 0 and "is line 3 of the audit, 1 line before its end" in there.stdout
    assert echofm("client", "audit", copy, "--expect", head[:12]).returncode == 0
    ledger = echofm("client", "audit", copy, "--expect", asked.first.ledger_head)
    assert "is line 1 of the privacy ledger" in ledger.stdout
    rows = (copy / FILE).read_bytes().splitlines(keepends=True)
    (copy / FILE).write_bytes(b"".join(rows[:3]))
    assert echofm("client", "audit", copy, "--verify").returncode == 0, "a whole chain"
    gone = echofm("client", "audit", copy, "--verify", "--expect", head)
    assert gone.returncode == 25 and "is in neither the audit nor the privacy ledger" in gone.stderr
    (copy / LEDGER).unlink()
    assert echofm("client", "audit", copy, "--expect", asked.again.ledger_head).returncode == 25
    assert echofm("client", "audit", copy, "--expect", "head").returncode == 2
