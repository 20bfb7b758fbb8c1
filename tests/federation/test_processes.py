"""Coordinator and hospital as their users start, stop and lose them: real Flower processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from client.flower_private import key_is_admitted
from echofm_core.runtime.errors import FederationError, ResumeError
from echofm_core.runtime.file_lock import is_locked, role_lock
from server import members
from server import submit as submitting
from server.flower import ask, run_status, serving
from server.kit import CONNECTION, Kit
from server.last_run import stop_run
from server.launch import stop, superlink
from server.members import register
from server.provision import provision
from server.status import status_of
from server.submit import submit
from simulations.engine import SiteSettings
from tests.federation.small import small_plan, with_states
from tests.federation.test_deployment import free_ports
from tests.runtime.marked import PROMISE, Marked, marked
from tests.support.forks import Forks
from tests.support.hospitals import hospital, joined

pytestmark = [pytest.mark.slow, pytest.mark.deployed, pytest.mark.timeout(420)]

Network = tuple[Kit, list[subprocess.Popen[bytes]], Path]


def kit_for(site: SiteSettings, folder: Path, port: int) -> Kit:
    """A provisioned federation of one site, its settings filled in."""
    kit = joined(provision(folder / "fed", "127.0.0.1", port)[0], site.name)
    settings = {
        "name": site.name, "server": f"127.0.0.1:{port}", "manifest": str(site.manifest),
        "store": str(site.store), "state": str(site.state), "device": "cpu",
        "save_every": 1, "policy": {"min_patients": 1, "approved_plans": "optional"},
    }  # fmt: skip
    (hospital(kit, site.name) / "site.toml").write_text(tomli_w.dumps(settings))
    return kit


def until(reached: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_who_stops_is_gone_with_all_that_was_started(
    forks: Forks, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """In the middle of training: who waits for the run, then the hospital, then the server."""
    (site,) = with_states(built_sites[:1], tmp_path / "state")
    port, node_port = free_ports(2)
    kit = kit_for(site, tmp_path, port)
    long = {"rounds": 1, "local_epochs": 900}
    plan = small_plan(pretrain=long, federation={"min_sites": 1})
    (tmp_path / "plan.toml").write_text(plan.to_toml())
    begun = []

    def begin(*words: object) -> Marked:
        begun.append(Marked(forks, tmp_path, *words))
        return begun[-1]

    try:
        server = begin("server", "start", "fed", "--port", port)
        server.wait_for(lambda: "Ctrl-C stops it" in server.output())
        state = begin("server", "status", "fed")
        assert state.process.wait(60) == 0, state.output()
        assert f"SuperLink serves on port {port}" in state.output()
        assert "1 registered" in state.output()

        client = begin("client", "start", str(hospital(kit, site.name)), "--port", node_port)
        run = begin("server", "run", "fed", "plan.toml", "--out", "run")
        run.wait_for(lambda: f"1 site: {site.name}" in run.output())
        client.wait_for(lambda: any("clientapp" in "".join(p.cmdline()) for p in client.others()))
        client.wait_for(lambda: list(site.state.rglob("progress/*")))  # in its training
        assert len(client.others()) >= 3
        (alive,) = (tmp_path / "fed/runs").glob("*.alive")
        assert is_locked(alive)
        (said,) = run.stop(signal.SIGINT, group=True).splitlines()[-1:]
        assert said.endswith("run the same command again with --resume.")
        until(lambda: not is_locked(alive), PROMISE)

        (said,) = client.stop(signal.SIGTERM, group=False).splitlines()[-1:]
        assert said == "echofm: stopped by SIGTERM; to go on, run the same command again."

        assert len(server.others()) >= 4
        server.stop(signal.SIGTERM, group=True)
        state = begin("server", "status", "fed")
        assert state.process.wait(60) == 20
        assert "does not serve" in state.output()

        again = begin("server", "start", "fed")  # at the port that it had
        again.wait_for(lambda: "Ctrl-C stops it" in again.output())
        assert len(again.others()) >= 4
        state = begin("server", "status", "fed")  # the key is registered at the new SuperLink
        assert state.process.wait(60) == 0 and "1 registered" in state.output()
        again.process.kill()
        until(lambda: not marked(again.mark), PROMISE)
    finally:
        for command in begun:
            command.clean_up()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A SuperLink whose only site never comes."""
    folder = tmp_path_factory.mktemp("network")
    (port,) = free_ports(1)
    kit = joined(provision(folder / "fed", "fl.example.org", 443)[0], "alpha")
    (folder / "plan.toml").write_text(small_plan().to_toml())
    with superlink(kit, "127.0.0.1", port) as processes:
        yield kit, processes, folder


def test_a_key_that_cannot_be_registered_is_an_error(network: Network) -> None:
    kit, _, _ = network
    register(kit)
    noted = kit.registered.read_bytes()
    kit.registered.unlink()
    with pytest.raises(FederationError, match=r"Public key already.*registers all keys anew"):
        register(kit)  # known there, and here nobody knows any more by which number
    kit.registered.write_bytes(noted)
    public = kit.sites / "alpha.pub"
    before = public.read_bytes()
    public.write_bytes(b"no key")
    try:
        with pytest.raises(FederationError, match="the key of site alpha could not be registered"):
            register(kit)
    finally:
        public.write_bytes(before)


def test_a_site_is_let_in_and_turned_away_while_the_superlink_runs(network: Network) -> None:
    kit, _, _ = network
    joined(kit, "beta")
    text = (hospital(kit, "beta") / "node.key").read_bytes()
    key = load_ssh_private_key(text, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    server = f"127.0.0.1:{kit.ports().local}"
    assert key_is_admitted(server, str(kit.authority), key)
    members.revoke(kit, "beta")
    assert not key_is_admitted(server, str(kit.authority), key)
    assert "beta" not in members.nodes(kit)


def test_a_key_is_registered_once_as_long_as_its_superlink_lives(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key, or another SuperLink, is asked; a run is not held up by known ones."""
    kit, _, _ = network
    register(kit)
    asked: list[str] = []

    def ask(kit: Kit, *words: str) -> dict[str, str]:
        asked.append(words[2])
        return {"node-id": "7"}

    monkeypatch.setattr(members, "ask", ask)
    register(kit)
    assert asked == []
    with monkeypatch.context() as gone:
        gone.setattr(members, "serving", lambda port: False)
        register(kit)
    public = kit.sites / "alpha.pub"
    before, noted = public.read_bytes(), kit.registered.read_bytes()
    try:
        public.write_bytes(b"another key")
        register(kit)
    finally:
        public.write_bytes(before)
        kit.registered.write_bytes(noted)
    assert asked == [str(public)] * 2


def test_a_second_superlink_of_a_folder_is_refused_and_harms_nothing(network: Network) -> None:
    """A run asks the health service at the port that the folder names: it has to stay."""
    kit, _, _ = network
    before = kit.ports()
    (other,) = free_ports(1)
    with (
        pytest.raises(FederationError, match="is running already"),
        superlink(kit, "127.0.0.1", other),
    ):
        pass
    assert kit.ports() == before and serving(before.health)


def test_a_second_coordinator_of_a_run_folder_is_refused(network: Network) -> None:
    """The refusal is the ServerApp's, and comes to the command with its class."""
    kit, _, folder = network
    with (
        role_lock(folder / "run", "coordinator"),
        pytest.raises(ResumeError, match="another process works on"),
    ):
        submit(kit, folder / "plan.toml", folder / "run", timeout=90)


def test_a_server_app_that_cannot_be_loaded_is_said(network: Network) -> None:
    """As on a machine where another package has our names: what is there is no ServerApp."""
    kit, _, folder = network
    bundle = kit.bundle / "pyproject.toml"
    before = bundle.read_text()
    bundle.write_text(before.replace("server.app:app", "server.kit:CONNECTION"))
    try:
        with pytest.raises(FederationError, match=r"before it began(.|\n)*superexec.log ends with"):
            submit(kit, folder / "plan.toml", folder / "run", timeout=90)
    finally:
        bundle.write_text(before)


def test_a_run_that_is_stopped_says_so_at_its_command_and_ends(network: Network) -> None:
    """It waits for its only site, which never comes."""
    kit, _, folder = network
    shown: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        command = pool.submit(
            submit, kit, folder / "plan.toml", folder / "stopped", timeout=90, show=shown.append
        )
        until(lambda: shown or command.done(), 90)
        seen = status_of(kit).as_json()
        assert (seen["last_run"]["state"], seen["sites"][0]["name"]) == ("running", "alpha")
        assert (folder / "stopped" / "heartbeat").exists()
        run = stop_run(kit)
        with pytest.raises(FederationError, match="the run was stopped by `echofm server stop`"):
            command.result(30)
    assert run_status(kit, run.number)[0].startswith("finished")
    assert status_of(kit).as_json()["last_run"]["state"] == "failed"


def test_a_run_that_nobody_launches_is_said(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher is gone; then the SuperLink too, while the command waits."""
    kit, processes, folder = network
    stop(processes[1:])
    monkeypatch.setattr(submitting, "ASK", 0.5)
    monkeypatch.setattr(submitting, "START", 3.0)
    with pytest.raises(FederationError, match="the run did not begin within 3 s"):
        submit(kit, folder / "plan.toml", folder / "run", timeout=90)
    monkeypatch.setattr(submitting, "START", 90.0)
    monkeypatch.setattr(submitting, "LOST", 2.0)
    assert serving(kit.ports().health)

    def asked(kit: Kit, *words: str) -> dict[str, object]:
        answer = ask(kit, *words)
        if words[0] == "run":
            stop(processes)
        return answer

    monkeypatch.setattr(submitting, "ask", asked)
    with pytest.raises(FederationError, match="the SuperLink has not answered for 2 s"):
        submit(kit, folder / "plan.toml", folder / "run", timeout=90)
    assert not serving(kit.ports().health)


def test_a_node_that_is_killed_is_started_again(
    forks: Forks, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Flower turns away a node that was lost a moment ago, which ends it: it is started again."""
    (site,) = with_states(built_sites[:1], tmp_path / "state")
    port, node_port = free_ports(2)
    kit = kit_for(site, tmp_path, port)
    with superlink(kit, "127.0.0.1", port):
        register(kit)
        client = Marked(
            forks, tmp_path, "client", "start", hospital(kit, site.name), "--port", node_port
        )

        def nodes() -> set[int]:
            found = set()
            for item in client.others():
                with suppress(psutil.Error):  # ended since
                    if any(word.endswith("/flower-supernode") for word in item.cmdline()[:2]):
                        found.add(item.pid)
            return found

        try:
            online = partial(ask, kit, "supernode", "list", CONNECTION)
            client.wait_for(lambda: online()["nodes"][0]["status"] == "online")
            (first,) = nodes()
            os.kill(first, signal.SIGKILL)
            client.wait_for(lambda: "again in 5 s" in client.output() and nodes() - {first})
            assert "exit code 137" in client.output()
            client.wait_for(lambda: client.output().count("again in 5 s") > 1)
            client.stop(signal.SIGTERM, group=False)
        finally:
            client.clean_up()
