"""Every line of `echofm client check` is looked at: a fault in each place, one at a time."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
import torch
import typer
from click.testing import Result
from typer.testing import CliRunner

from client import flower_private
from client import preflight as preflighting
from client.commands import register
from client.preflight import Line, lasting_fault, preflight
from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.runtime.errors import PlanError
from server.provision import provision
from simulations.engine import SiteSettings
from tests.federation.small import build_sites
from tests.support.hospitals import hospital, joined

#: What a hospital sees in order; `admission` needs a true SuperLink: test_deployment.py.
SUBJECTS = [
    *("settings", "manifest", "splits", "labels", "store", "state", "port", "keys", "server"),
    "admission",
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

    def lines(self) -> dict[str, Line]:
        return {line.subject: line for line in preflight(self.folder, self.port)}

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

    def answer() -> None:
        while True:
            try:
                plain, _ = server.accept()
                with context.wrap_socket(plain, server_side=True):
                    pass
            except ssl.SSLError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    folder = hospital(made, "alpha")
    shutil.copy(built.manifest, folder / "manifest.parquet")
    shutil.copytree(built.store, folder / "stores")
    port = free.getsockname()[1]
    free.close()
    yield Kit(folder, folder / "manifest.parquet", port)
    server.close()


def command(*words: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["client", *words], catch_exceptions=False)


def failed(lines: dict[str, Line]) -> list[str]:
    return [subject for subject, line in lines.items() if line.exit_code]


def test_what_holds_is_said_with_what_was_seen(kit: Kit) -> None:
    """Four training patients with an EF, two for testing; the server is no SuperLink."""
    lines = kit.lines()
    assert list(lines) == SUBJECTS
    assert failed(lines) == ["admission"]
    assert lines["admission"].exit_code == 20
    assert "did not say whether it knows this site's key" in lines["admission"].words
    assert lines["manifest"].words == "6 clips"
    assert lines["splits"].words == "patients are 2 test, 4 train, nobody in two"
    assert lines["labels"].words == "6 clips with ef"
    assert lines["store"].words.startswith("6 clips of the manifest are in")
    assert "certificate of the kit's authority until" in lines["server"].words


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
        asked.setattr(preflighting, "PATIENCE", 0.5)
        assert "does not know this site's key" in str(lasting_fault(kit.folder, kit.port))
    other = provision(tmp_path / "other", "127.0.0.1", 443)[0]
    shutil.copy(other.authority, kit.folder / "ca.crt")
    assert "certificate verify failed" in str(lasting_fault(kit.folder, kit.port))
