"""Sites on a Ray cluster of two nodes: two sets of Ray's own processes on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.app import app as real
from echofm_core.plan.engine import EngineName, RayConfig
from echofm_core.plan.machine import MachineConfig
from echofm_core.runtime.errors import EngineError
from echofm_core.runtime.signals import SIGNALS, Stopped
from echofm_core.training.config import ExecutionConfig
from server.events import Event
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from simulations.ray_cluster import ENVIRONMENT, require_cluster
from simulations.ray_nodes import check_report, examine
from tests.federation.small import build_sites, small_plan, validating, with_states
from tests.federation.toy_phase import settings, train

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

# Looked for, not loaded: that takes seconds in whichever process merely collects the tests.
pytestmark = [
    pytest.mark.deployed,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
]

TOY = "tests.federation.toy:app"
CPU = ExecutionConfig(device="cpu")
#: Bytes of a node's object store.
STORE = 200 << 20

app = ClientApp()


def _ray() -> Any:
    return import_module("ray")


@app.query("describe")
@app.train("pretrain")
@app.train("finetune")
@app.evaluate("site")
def _noted(message: Message, context: Context) -> Message:
    """The product's own ClientApp, with a file that says on which node it ran."""
    node = _ray().get_runtime_context().get_node_id()
    state = Path(str(context.node_config["state"]))
    state.mkdir(parents=True, exist_ok=True)
    (state / f"{node}.node").touch()
    return real(message, context)


def _stop_after_a_round(event: Event) -> None:
    if event.round_done:
        raise Stopped(signal.SIGTERM)


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """Of Ray's processes, which step behind all others, and would wait long beside other tests.

    And no token is written into the home of whoever runs this.
    """
    own = {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, **own}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def cluster(environment: None) -> Iterator[RayConfig]:
    made = _two_nodes(tries=3)
    yield RayConfig(address=made.address)
    made.shutdown()


def _two_nodes(tries: int) -> Cluster:
    """On a busy machine Ray's own processes may come too late for it."""
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        for dashboard in ({"include_dashboard": False}, {}):
            made.add_node(num_cpus=1, object_store_memory=STORE, **dashboard)
    except Exception:
        made.shutdown()
        if tries == 1:
            raise
        return _two_nodes(tries - 1)
    return made


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[SiteSettings]:
    folder = tmp_path_factory.mktemp("sites")
    return validating(build_sites(folder), folder)


def test_sites_that_fail_are_named_and_one_whose_worker_dies_is_run_again(
    cluster: RayConfig, tmp_path: Path
) -> None:
    """``once`` is killed at its first try, ``die`` at both; ``raise`` raises, which is no death.

    Of an exception nothing but its class is in the answer, as on one machine.
    """
    names = ("a", "die", "once", "raise")
    with Engine(client_app=TOY, execution=CPU, ray=cluster) as engine:
        grid = engine.grid(settings(names, tmp_path))
        _, (entry,) = train(grid, names, tmp_path, rounds=1)
    assert {path.name for path in tmp_path.glob("*-died")} == {"once-1-died"}
    assert set(entry.sites) == {"a", "once"}
    assert entry.refused["raise"].endswith(
        "RuntimeError; the traceback is in site.log of the site's state folder."
    )
    assert "Traceback" in (tmp_path / "site.log").read_text()
    assert entry.refused["die"].endswith(
        "the Ray worker of site die died twice at train.pretrain, round 1 (WorkerCrashedError)."
    )
    kept = ("a", "once")  # whose first try is behind it
    with Engine(client_app=TOY) as engine:
        _, alone = train(engine.grid(settings(kept, tmp_path)), kept, tmp_path, rounds=1)
    assert entry.digest == alone[0].digest


def test_a_run_ends_with_the_same_bits_and_both_nodes_worked(
    cluster: RayConfig, sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Both phases in this process; then one round here, and the rest on the cluster, resumed."""
    with Engine(execution=CPU) as engine:
        grid = engine.grid(with_states(sites, tmp_path / "alone"))
        alone = run_federation(grid, small_plan(), tmp_path / "one")
        grid = engine.grid(with_states(sites, tmp_path / "states"))
        with pytest.raises(Stopped):
            run_federation(grid, small_plan(), tmp_path / "run", on_event=_stop_after_a_round)
    with Engine(execution=CPU, client_app=f"{__name__}:app", ray=cluster) as engine:
        grid = engine.grid(with_states(sites, tmp_path / "states"))
        result = run_federation(grid, small_plan(), tmp_path / "run", resume=True)
    assert result.digest == alone.digest
    assert repr(result.site_results) == repr(alone.site_results)  # p is nan where there is none
    for path in (tmp_path / "one" / "journal").iterdir():
        here, there = (
            json.loads(file.read_text())["validation"]
            for file in (path, tmp_path / "run" / "journal" / path.name)
        )
        assert here == there and len(there) == len(sites), path.name
    nodes = {path.name for path in (tmp_path / "states").glob("*/*.node")}
    assert len(nodes) == 2


def test_a_cluster_that_is_not_there_is_said(cluster: RayConfig) -> None:
    wrong = cluster.model_copy(update={"address": "127.0.0.1:1"})
    with pytest.raises(EngineError, match=r"nobody listens at 127\.0\.0\.1:1, where the Ray"):
        Engine(ray=wrong).__enter__()


def test_a_cluster_is_joined_and_left_before_data_are_read(cluster: RayConfig) -> None:
    """One that is there and has room, and one without room."""
    machine = MachineConfig(engine=EngineName.RAY, ray=cluster)
    require_cluster(machine)
    with pytest.raises(EngineError, match="no node has both"):
        require_cluster(machine.model_copy(update={"threads": 2}))
    assert not _ray().is_initialized()


@pytest.mark.parametrize(
    ("execution", "gpus"), [(ExecutionConfig(threads=2), 0.0), (ExecutionConfig(), 0.5)]
)
def test_what_no_node_has_is_refused_at_once(
    execution: ExecutionConfig, gpus: float, cluster: RayConfig
) -> None:
    """Each node has one CPU and no GPU; Ray would wait for another one for ever."""
    wanted = cluster.model_copy(update={"gpus": gpus})
    with pytest.raises(EngineError, match=r"no node has both \(at most 1 and 0\)"):
        Engine(execution=execution, ray=wanted).__enter__()
    assert not _ray().is_initialized()


def test_a_ray_of_its_own_trains_as_many_sites_at_once_as_workers(tmp_path: Path) -> None:
    """Without a cluster's address; and Ray leaves the handlers of signals as they were.

    What asks for a reply when the engine was closed gets an error, and starts no Ray again.
    """
    before = [signal.getsignal(number) for number in SIGNALS]
    names = ("a", "b")
    with Engine(2, client_app=TOY, execution=CPU, ray=RayConfig()) as engine:
        assert _ray().cluster_resources()["CPU"] == 2
        assert [signal.getsignal(number) for number in SIGNALS] == before
        grid = engine.grid(settings(names, tmp_path))
        _, own = train(grid, names, tmp_path, rounds=1)
        late = grid.push_messages([Message(RecordDict(), 1, "query.describe")])
    with pytest.raises(EngineError, match="the engine was closed while a site was at work"):
        grid.pull_messages(late)
    assert not _ray().is_initialized()
    with Engine(client_app=TOY) as engine:
        _, alone = train(engine.grid(settings(names, tmp_path)), names, tmp_path, rounds=1)
    assert own[0].digest == alone[0].digest


def test_a_node_that_cannot_train_the_sites_is_named(tmp_path: Path) -> None:
    """A path that one node has and the other has not, and another version of torch there."""
    mark = tmp_path / "mark"
    mark.touch()
    here = examine(TOY, [str(tmp_path)], [str(mark)])
    check_report("10.0.0.2:6379", here, here)
    lost = examine(TOY, [str(tmp_path), str(tmp_path / "store")], [str(mark)])
    with pytest.raises(EngineError, match=rf"10\.0\.0\.2 .*does not see {tmp_path}/store"):
        check_report("10.0.0.2", lost, here)
    unmarked = examine(TOY, [str(tmp_path)], [str(tmp_path / "another-disk")])
    with pytest.raises(EngineError, match=f"does not see {tmp_path}/another-disk"):
        check_report("10.0.0.2", unmarked, here)
    old = replace(here, software={**here.software, "torch": "2.1"})
    with pytest.raises(EngineError, match=r"has torch 2\.1, this machine \d"):
        check_report("10.0.0.2", old, here)


def test_a_ray_of_its_own_writes_no_token_into_the_home(tmp_path: Path) -> None:
    """It asks for one all the same."""
    script = (
        "import os, ray; from simulations.ray_cluster import connect; connect('', 1);"
        "assert ray.get(ray.remote(lambda: 7).remote()) == 7; ray.shutdown();"
        "print(os.environ['RAY_AUTH_MODE'])"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment = {**kept, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "token"
    assert not [path for path in tmp_path.rglob("*") if "token" in path.name]
