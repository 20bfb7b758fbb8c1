"""Every line of `echofm client check` is looked at: a fault in each place, one at a time."""

from __future__ import annotations

import email.utils
import re
import shutil
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
import torch
import typer
from click.testing import Result
from typer.testing import CliRunner

from client import checks_machine, checks_network, dry_step, flower_private
from client.approval import record_approval, withdraw
from client.commands import register
from client.preflight import Line, lasting_fault, preflight
from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.runtime.errors import PlanError
from server.provision import provision
from simulations.engine import SiteSettings
from tests.federation.small import build_sites, small_plan
from tests.support.hospitals import hospital, joined

#: What a hospital sees in order; `admission` needs a true SuperLink: test_deployment.py.
SUBJECTS = [
    *("settings", "manifest", "splits", "labels", "store", "state", "records", "disk", "memory"),
    *("shared_memory", "devices", "decoders", "step", "port", "keys", "proxy", "address"),
    *("server", "clock", "admission"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    torch.set_num_threads(1)
    return build_sites(tmp_path_factory.mktemp("site"), ("alpha",))[0]


@dataclass(frozen=True)
class Kit:
    """A hospital's folder, ready to start, and the certificate of a server that speaks TLS."""

    folder: Path
    manifest: Path
    port: int
    answers: dict[str, str]
    """``date``: what its server says that time it is; without one it answers no HTTP."""

    def lines(self, *, quick: bool = True) -> dict[str, Line]:
        return {line.subject: line for line in preflight(self.folder, self.port, quick=quick)}

    def set(self, words: str) -> None:
        """Put settings before all others of ``site.toml``."""
        settings = self.folder / "site.toml"
        settings.write_text(f"{words}\n{settings.read_text()}")

    def change(self, **columns: object) -> None:
        frame = load_manifest(self.manifest).assign(**columns)
        frame.to_parquet(self.manifest, index=False)


@pytest.fixture
def kit(built: SiteSettings, tmp_path: Path) -> Iterator[Kit]:
    """Behind the kit's address a server answers the handshake with the kit's certificate."""
    server, free = socket.socket(), socket.socket()
    for item in (server, free):
        item.bind(("127.0.0.1", 0))
    server.listen()
    address = server.getsockname()[1]
    made = joined(provision(tmp_path / "fed", "127.0.0.1", address)[0], "alpha")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)

    answers: dict[str, str] = {}

    def answer() -> None:
        while True:
            try:
                plain, _ = server.accept()
                with context.wrap_socket(plain, server_side=True) as safe:
                    if "date" in answers and safe.recv(4096):
                        safe.sendall(f"HTTP/1.1 404 No\r\nDate: {answers['date']}\r\n\r\n".encode())
            except ssl.SSLError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    folder = hospital(made, "alpha")
    with (folder / "site.toml").open("a") as settings:  # in [policy], which is last
        settings.write("min_patients = 1\n")
    shutil.copy(built.manifest, folder / "manifest.parquet")
    shutil.copytree(built.store, folder / "stores")
    port = free.getsockname()[1]
    free.close()
    yield Kit(folder, folder / "manifest.parquet", port, answers)
    server.close()


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


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (0, "near enough"),
        (-200, "200 s behind the server's clock, near enough"),
        (60, "this machine's clock is 60 s before the server's clock, and signed requests"),
        (-400, "this machine's clock is 400 s behind the server's clock, and signed requests"),
    ],
)
def test_a_clock_is_held_against_the_servers(kit: Kit, ahead: int, words: str) -> None:
    """The server is this machine too; so its date is moved the other way."""
    kit.answers["date"] = email.utils.formatdate(time.time() - ahead, usegmt=True)
    line = kit.lines()["clock"]
    assert words.split()[0] in line.words
    found = re.sub(r"\b(\d+) s", lambda it: f"{round(int(it[1]), -1)} s", line.words)
    assert words in found and bool(line.exit_code) == ("signed" in words)


def test_a_proxy_is_said_and_taken(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward proxy as hospitals have it: it sees CONNECT alone, and passes bytes on."""
    asked: list[bytes] = []
    with forward_proxy(asked) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://nurse:geheim@127.0.0.1:{port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        lines = kit.lines()
        assert f"through 127.0.0.1:{port}, as HTTPS_PROXY say" in lines["proxy"].words
        assert "geheim" not in "".join(line.words for line in lines.values())
        assert not lines["server"].exit_code and asked
        assert all(words.startswith(b"CONNECT 127.0.0.1:") for words in asked)
        assert any(b"Proxy-Authorization: Basic" in words for words in asked)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        asked.clear()
        lines = kit.lines()
        assert "the node connects itself (HTTPS_PROXY" in lines["proxy"].words and not asked
    monkeypatch.delenv("NO_PROXY")
    line = kit.lines()["server"]
    assert line.exit_code == 20 and "nobody listens there" in line.words
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    assert "only a proxy at http:// is known to work" in kit.lines()["proxy"].words


@contextmanager
def forward_proxy(asked: list[bytes]) -> Iterator[int]:
    """Its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                one, _ = listening.accept()
            except OSError:
                return
            asked.append(words := one.recv(4096))
            host, _, port = words.split()[1].decode().rpartition(":")
            other = socket.create_connection((host, int(port)))
            one.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for source, sink in ((one, other), (other, one)):
                threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


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


def test_a_port_that_is_taken(kit: Kit) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", kit.port))
        taken.listen()
        line = kit.lines()["port"]
    assert line.exit_code == 20 and f"port {kit.port} of this machine is in use" in line.words


def test_keys_that_are_not_there_not_keys_not_a_pair_or_not_private(
    kit: Kit, tmp_path: Path
) -> None:
    other = hospital(joined(provision(tmp_path / "other", "127.0.0.1", 8000)[0], "alpha"), "alpha")
    shutil.copy(other / "node.pub", kit.folder / "node.pub")
    assert "do not belong together" in kit.lines()["keys"].words
    shutil.copy(other / "node.key", kit.folder / "node.key")
    assert not kit.lines()["keys"].exit_code
    (kit.folder / "node.key").chmod(0o644)
    assert "can be read by others (mode 644)" in kit.lines()["keys"].words
    (kit.folder / "node.key").write_text("garbage")
    assert "holds no private key" in kit.lines()["keys"].words
    (kit.folder / "node.pub").unlink()
    lines = kit.lines()
    assert "node.pub is missing" in lines["keys"].words and "admission" not in lines


def test_a_server_with_another_certificate(kit: Kit, tmp_path: Path) -> None:
    other = hospital(joined(provision(tmp_path / "other", "127.0.0.1", 8000)[0], "alpha"), "alpha")
    shutil.copy(other / "ca.crt", kit.folder / "ca.crt")
    line = kit.lines()["server"]
    assert line.exit_code == 20 and "certificate verify failed" in line.words


def test_a_server_that_is_not_there(kit: Kit) -> None:
    settings = {"name": "alpha", "server": "127.0.0.1:1", "manifest": "manifest.parquet"}
    settings |= {"store": "stores", "state": "state"}
    (kit.folder / "site.toml").write_text(tomli_w.dumps(settings))
    assert "127.0.0.1:1 cannot be reached safely" in kit.lines()["server"].words


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
