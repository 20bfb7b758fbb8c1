"""A run between hospitals as the signed folder that an office files: true, whole, and no more."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner, Result

from client.approval import record_approval
from client.audit import FILE
from client.launch import load_site
from echofm_core.plan.load import load_plan
from echofm_core.runtime.chained_log import ChainedLog
from echofm_core.runtime.errors import OutputError, ReleaseError
from echofm_core.runtime.installed_code import code_digest
from server.commands import server
from server.ending import RunOptions
from server.outcome import conclude
from server.release import make
from server.release.make import ReleaseOptions, release
from server.release.page import FILES
from server.release.record import UNKNOWN
from server.release.signature import verify
from server.rounds import run_federation
from simulations.engine import InProcessGrid, _Inline
from simulations.flower_private import NodeConfig, become_server
from tests.federation.small import build_sites, small_plan
from tests.support.commands import Echofm

PLAN = small_plan(
    pretrain={"rounds": 0},
    finetune={"rounds": 2, "tasks": ["ef"], "local_steps": 1},
    privacy={"kind": "local", "delta": 1e-3, "noise_multiplier": 1.0},
    machine={"roots": ["/srv/Doe^John/echo"]},
)
LEAST = {"alpha": 2, "beta": 1}


@dataclass
class Made:
    """A finished run, the coordinator's folder, and each hospital's."""

    run: Path
    fed: Path
    hospitals: dict[str, Path]

    @property
    def key(self) -> Path:
        return self.fed / "release.key"

    def release(self, out: Path, **options: Any) -> str:
        run = options.pop("run", self.run)
        given = {"key": self.key, "licences": {}} | options
        return release(run, out, ReleaseOptions(**given))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    become_server()
    folder = tmp_path_factory.mktemp("federation")
    nodes: list[NodeConfig] = []
    for site in build_sites(folder, tuple(LEAST)):
        place = folder / site.name
        node = {"manifest": site.manifest, "store": site.store, "state": place / "state"}
        paths = {key: str(path) for key, path in node.items()}
        policy = {"policy": {"min_patients": LEAST[site.name]}}
        text = tomli_w.dumps({"name": site.name, "server": "fl:443", **paths, **policy})
        (place / "site.toml").write_text(text)
        record_approval(place, PLAN)
        nodes.append({"site": site.name, **paths, "settings": str(place / "site.toml")})
    run, fed = folder / "run", folder / "fed"
    options = RunOptions(floor=True)
    result = run_federation(
        InProcessGrid(_Inline("client.app:app"), nodes), PLAN, run, options=options
    )
    conclude(PLAN, run, result, 1.0)
    (run / "predictions").mkdir()
    for name in ("predictions/federated.parquet", "model/notes.txt", "trained_on.json"):
        (run / name).write_text("Doe^John")
    fed.mkdir()
    (fed / "server.toml").write_text("")
    return Made(run, fed, {name: folder / name for name in LEAST})


@pytest.fixture(scope="module")
def released(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("office") / "first"
    made.release(out)
    return out


@pytest.fixture
def copy(released: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(released, tmp_path / "copy"))


def record_of(folder: Path) -> Any:
    return json.loads((folder / "what-left.json").read_text())


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_holds_what_is_on_the_list_and_nothing_of_a_patient_or_a_machine(
    made: Made, released: Path
) -> None:
    assert files_of(released) == {*FILES, "RELEASE.md"}
    whole = b"".join(path.read_bytes() for path in released.rglob("*") if path.is_file())
    assert b"Doe^John" not in whole and str(made.run.parent).encode() not in whole
    assert load_plan(released / "plan.toml").digest() == PLAN.digest()
    for name in ("model/model.safetensors", "report.html"):
        assert (released / name).read_bytes() == (made.run / name).read_bytes()
    assert not list(released.parent.glob(".*")), "nothing half made beside it"


def test_what_left_is_what_each_site_wrote_down_itself(made: Made, released: Path) -> None:
    """The coordinator's record, answer by answer, against the audit that never left the site."""
    record = record_of(released)
    assert sorted(record["sites"]) == sorted(LEAST)
    for name, place in made.hospitals.items():
        facts, audit = record["sites"][name], ChainedLog(place / "state" / FILE)
        answers = facts["answers"]
        assert [answer["audit_head"] for answer in answers] == audit.hashes
        kinds = [answer["kind"] for answer in answers]
        assert kinds == ["description", "update", "update", "test result"]
        for answer, line in zip(answers, audit.records, strict=True):
            sent = line["sent"]
            assert (answer["bytes"], sorted(answer["groups"])) == (sent["bytes"], sent["groups"])
            assert answer["policy_hash"] == load_site(place).policy.digest()
            assert answer["ledger_head"] == sent["config"]["ledger-head"]
            if answer["kind"] == "update":
                assert answer["numbers"] == sorted(sent["metrics"])
                assert set(answer["groups"].values()) == {{"alpha": 4, "beta": 3}[name]}
            if answer["kind"] == "test result":
                told = {number for number in answer["numbers"] if number.startswith("federated/")}
                ends = ("/low", "/high", "/p")
                assert told == {score for score in sent["metrics"] if not score.endswith(ends)}
        [approval] = json.loads((place / "approvals.json").read_text())
        assert {answer["approval_hash"] for answer in answers} == {signed(approval)}
        spent = audit.records[2]["sent"]["metrics"]["epsilon"]
        assert facts["epsilon"] == spent > audit.records[1]["sent"]["metrics"]["epsilon"] > 0
        assert facts["min_patients"] == LEAST[name]
        assert code_digest() in facts["software"] and "flwr " in facts["software"]


def change(path: Path) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def signed(approval: dict[str, str]) -> str:
    text = json.dumps(approval, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_page_says_it_in_words(made: Made, released: Path) -> None:
    page, record = (released / "RELEASE.md").read_text(), record_of(released)
    assert "policy and technical controls (SATRE 2.0.1, 3.3.07)" in page
    assert "UNFINISHED" not in page
    for facts in record["sites"].values():
        assert f"`{facts['answers'][0]['policy_hash']}`" in page
        assert f"| {facts['epsilon']:.3g} |" in page and not facts["open_rounds"]
    assert "own ledger" not in page
    assert "| finetune round 1 to 2 | update | encoder (4 clips), " in page
    assert (
        "noise multiplier 1, delta 0.001, clipping norm 1, drawn from the operating system" in page
    )
    assert "| alpha 2, beta 1 | client/site.py |" in page
    assert "| at every site that `echofm client start` runs | client/bundle.py |" in page
    assert f"- data of beta: {UNKNOWN}" in page
    assert "--licence alpha='...' --licence beta='...'`" in page
    for where in re.findall(r"\| ([a-z_/]+\.py(?:, [a-z_/]+\.py)*) \|", page):
        assert all((Path(__file__).parents[3] / each).is_file() for each in where.split(", "))


def test_what_a_round_that_did_not_count_has_cost_is_said_to_be_open(
    made: Made, tmp_path: Path
) -> None:
    """alpha's answer of the last round came too late, and beta's answers never counted."""
    run = Path(shutil.copytree(made.run, tmp_path / "run"))
    for number, lost in ((1, ("beta",)), (2, ("alpha", "beta"))):
        path = run / f"journal/finetune-{number:04d}.json"
        entry = json.loads(path.read_text())
        for site in lost:
            del entry["sites"][site]
            entry["refused"][site] = "no reply within 60 s."
        path.write_text(json.dumps(entry))
    made.release(tmp_path / "out", run=run)
    page, sites = (tmp_path / "out/RELEASE.md").read_text(), record_of(tmp_path / "out")["sites"]
    assert [sites[name]["open_rounds"] for name in LEAST] == [1, 2]
    assert (
        f"| alpha | {sites['alpha']['epsilon']:.3g} or more: then 1 round did not count |" in page
    )
    assert "| beta | not known: 2 rounds did not count |" in page
    assert "in the site's own ledger alone" in page


def test_licences_are_filled_in_and_only_of_what_the_run_has(made: Made, tmp_path: Path) -> None:
    made.release(tmp_path / "named", licences={"alpha": "own | data"})
    page = (tmp_path / "named" / "RELEASE.md").read_text()
    assert "- data of alpha: own | data\n" in page and "--licence beta='...'`" in page
    assert "start weights: none needed" in page
    with pytest.raises(ReleaseError, match="names 'gamma', which this run does not have"):
        made.release(tmp_path / "other", licences={"gamma": "MIT"})
    assert not (tmp_path / "other").exists()


def test_the_bill_of_materials_is_valid_and_of_this_environment(released: Path) -> None:
    # Two seconds to load, in whichever process merely collects the tests.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (released / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    parts = {part["name"].lower(): part for part in bill["components"]}
    assert parts["torch"]["version"] == importlib.metadata.version("torch")
    assert parts["numpy"]["purl"].startswith("pkg:pypi/numpy@")
    needs = {part["ref"]: part.get("dependsOn", []) for part in bill["dependencies"]}
    assert parts["flwr"]["bom-ref"] in needs["echofm-federated"]


def test_a_run_that_is_not_finished_is_released_only_as_such(made: Made, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made.run, tmp_path / "run"))
    (run / "evaluation.json").write_text('{"sites": [], "failed": {"alpha": "no reply."}}')
    (run / "report.html").unlink()
    sessions = json.loads((run / "descriptions.json").read_text())
    (run / "descriptions.json").write_text(json.dumps([*sessions, *sessions]))
    why = "it has no report.html; its model was tested at no site"
    with pytest.raises(ReleaseError, match=f"cannot be released: {why}; finish the run"):
        made.release(tmp_path / "out", run=run)
    assert not (tmp_path / "out").exists()
    made.release(tmp_path / "out", run=run, unfinished=True)
    page = (tmp_path / "out/RELEASE.md").read_text()
    assert f"**UNFINISHED RUN:** {why}." in page and "No report.html: the run has none." in page
    assert "not in the model:\n\n- test at the end: no reply." in page
    assert "| 1 session | description |" in page, "noted again as others joined, sent once"


def test_weights_that_are_not_the_runs_are_refused(made: Made, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made.run, tmp_path / "run"))
    change(run / "model/model.safetensors")
    with pytest.raises(ReleaseError, match=r"are not those of the run's summary"):
        made.release(tmp_path / "out", run=run, unfinished=True)


def test_the_report_of_a_simulation_shows_patients_and_stays(made: Made, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made.run, tmp_path / "run"))
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "absent": {}}))
    made.release(tmp_path / "out", run=run)
    assert "report.html" not in files_of(tmp_path / "out")
    page = (tmp_path / "out/RELEASE.md").read_text()
    assert "No report.html: that of this run shows single patients" in page


def test_a_place_that_is_taken_stays_as_it_is(made: Made, copy: Path) -> None:
    before = {name: (copy / name).read_bytes() for name in files_of(copy)}
    with pytest.raises(ReleaseError, match="is there already, and a release is not changed"):
        made.release(copy)
    assert {name: (copy / name).read_bytes() for name in files_of(copy)} == before


def test_a_place_that_cannot_be_written_is_refused_before_the_run_is_read(
    made: Made, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is a file; choose another place"):
        made.release(tmp_path / "file/out", run=tmp_path / "none")


def test_a_release_that_is_cut_off_leaves_no_folder(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, key: Path) -> None:
        assert len(files_of(folder)) == len(FILES), "all but the signature"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(make, "sign", full)
    with pytest.raises(OutputError, match="No space left on device"):
        made.release(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_command_makes_and_checks(made: Made, tmp_path: Path, echofm: Echofm) -> None:
    words = ("server", "release")
    done = echofm(*words, made.run, "--out", tmp_path / "out", "--key", made.key)
    assert done.returncode == 0, done.stderr
    found = verify(tmp_path / "out")
    assert f"key {found}" in done.stdout
    checked = echofm(*words, "--verify", tmp_path / "out", "--key", made.fed / "release.pub")
    assert checked.returncode == 0 and checked.stdout.endswith(f"as it was signed; key {found}\n")
    change(tmp_path / "out/what-left.json")
    failed = echofm(*words, "--verify", tmp_path / "out")
    assert failed.returncode == 26 and "Hash mismatch for 'what-left.json'" in failed.stderr


def test_the_command_says_what_it_wants(released: Path) -> None:
    def asked(*words: object) -> Result:
        return CliRunner().invoke(server, ["release", *map(str, words)])

    own = asked("--verify", released)
    assert own.exit_code == 0 and "compare these digits with the signer's" in own.stdout
    for words in ((), ("run", "--verify", released), ("run", "--out", "x"), ("run", "--key", "x")):
        assert asked(*words).exit_code == 2
    assert asked("run", "--out", "x", "--key", "y", "--licence", "MIT").exit_code == 2
    for words in (("--out", "x"), ("--licence", "north=MIT"), ("--unfinished",)):
        assert asked("--verify", released, *words).exit_code == 2
