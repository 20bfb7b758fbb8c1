"""What is said of a Ray cluster before anything is read; tests/simulations has a real one."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from echofm_core.plan import ray_address
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.preflight import require_machine
from echofm_core.plan.ray_address import knock
from echofm_core.runtime.errors import EngineError, EnvironmentClashError, PlanError


def test_ray_is_asked_for_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """And devices are those of its nodes: this machine need not have GPU 99."""
    plan = plan_from_mapping({"machine": {"engine": "ray", "device": "cuda:99"}}, "of a test")
    monkeypatch.setattr(ray_address, "find_spec", lambda name: object())
    require_machine(plan.machine, plan.finetune)
    monkeypatch.setattr(ray_address, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentClashError, match="needs the package ray; "):
        require_machine(plan.machine, plan.finetune)


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("head:6379", True),
        ("[::1]:6379", True),
        ("auto", True),
        ("head", False),
        ("head:0", False),
        ("head:65536", False),
        ("ray://head:10001", False),
    ],
)
def test_an_address_of_ray_is_host_and_port(address: str, fine: bool) -> None:
    values = {"machine": {"ray": {"address": address}}}
    if fine:
        assert plan_from_mapping(values, "of a test").machine.ray.address == address
        return
    with pytest.raises(PlanError, match=f"'{address}' is no address of a Ray cluster: write HOST"):
        plan_from_mapping(values, "of a test")


def test_a_cluster_that_nobody_is_at_is_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Port 1 of this machine, and one that has just been let go of."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"127.0.0.1:{server.getsockname()[1]}"
    for address in ("127.0.0.1:1", there):
        values = {"machine": {"engine": "ray", "ray": {"address": address}}}
        plan = plan_from_mapping(values, "of a test")
        with pytest.raises(EngineError, match=f"nobody listens at {address}"):
            require_machine(plan.machine, plan.finetune)
    monkeypatch.setenv("RAY_ADDRESS", there)
    with pytest.raises(EngineError, match="mend RAY_ADDRESS of the environment"):
        knock("auto")


def test_a_server_that_speaks_as_rays_does_is_let_pass() -> None:
    """One of gRPC's own, which is an independent HTTP/2."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    knock(f"127.0.0.1:{port}")
    server.stop(None)


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_what_is_no_ray_is_refused_in_time(words: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing, and one that says something else."""
    monkeypatch.setattr(ray_address, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            connection.sendall(words)
            held.append(connection)

        held = list[socket.socket]()
        speaker = threading.Thread(target=speak)
        speaker.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"what listens at {address} is no Ray cluster"):
            knock(address)
        speaker.join()
        held[0].close()
