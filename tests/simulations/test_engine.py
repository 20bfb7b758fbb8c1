from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from echofm_core.plan.engine import EngineName, RayConfig
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import EngineError
from simulations.commands import _with_machine
from simulations.engine import Engine
from tests.federation.toy_phase import START, settings, train

TOY = "tests.federation.toy:app"
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def pool() -> Iterator[Engine]:
    with Engine(2, client_app=TOY) as running:
        yield running


@pytest.fixture(scope="module")
def alone() -> Iterator[Engine]:
    with Engine(1, client_app=TOY) as running:
        yield running


@pytest.fixture(params=["alone", "pool"], ids=["one worker", "two workers"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Engine)
    return found


def test_bits_do_not_depend_on_the_number_of_workers(
    alone: Engine, pool: Engine, tmp_path: Path
) -> None:
    _, of_two = train(pool.grid(settings(NAMES, tmp_path)), NAMES, tmp_path)
    _, of_one = train(alone.grid(settings(NAMES, tmp_path)), NAMES, tmp_path)
    assert of_one[-1].digest == of_two[-1].digest


def test_bits_do_not_depend_on_the_order_of_the_sites(engine: Engine, tmp_path: Path) -> None:
    digests = {
        train(engine.grid(settings(names, tmp_path)), names, tmp_path)[1][-1].digest
        for names in (NAMES, NAMES[::-1], ("b", "a", "c"))
    }
    assert len(digests) == 1


def test_federations_may_share_the_engine_from_several_threads(
    engine: Engine, tmp_path: Path
) -> None:
    def run(names: tuple[str, ...]) -> str:
        return train(engine.grid(settings(names, tmp_path)), names, tmp_path)[1][-1].digest

    choices = [NAMES, ("a", "b"), ("c",), ("b", "c")]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(run, choices))
    assert together == [run(names) for names in choices]


def test_a_worker_that_dies_twice_is_an_error_of_its_site_and_is_replaced(
    pool: Engine, tmp_path: Path
) -> None:
    names = ("a", "die", "z")
    _, entries = train(pool.grid(settings(names, tmp_path)), names, tmp_path, rounds=3)
    for entry in entries:
        assert set(entry.sites) == {"a", "z"}
        assert entry.refused["die"].endswith(
            "the worker process of site die died with exit code -9, twice at train.pretrain, "
            f"round {entry.round}."
        )


def test_a_site_whose_worker_dies_once_is_run_again_to_the_same_bits(
    pool: Engine, alone: Engine, tmp_path: Path
) -> None:
    """``once`` kills its process at the first try of a round; then its mark is there."""
    names = ("a", "once")
    _, entries = train(pool.grid(settings(names, tmp_path)), names, tmp_path)
    assert {path.name for path in tmp_path.glob("*-died")} == {"once-1-died", "once-2-died"}
    _, quiet = train(alone.grid(settings(names, tmp_path)), names, tmp_path)
    assert [set(entry.sites) for entry in entries] == [set(names)] * 2
    assert entries[-1].digest == quiet[-1].digest


def test_an_exception_is_an_error_reply_with_its_class_only(engine: Engine, tmp_path: Path) -> None:
    """Where the traceback is stands beside it, and it is there: of an app that lets it pass."""
    names = ("a", "raise")
    sites = [replace(site, log="sites/x/site.log") for site in settings(names, tmp_path)]
    _, entries = train(engine.grid(sites), names, tmp_path, rounds=1)
    why = r"the site answered with an error: error 70, reference ([0-9a-f]{8}): RuntimeError; "
    found = re.fullmatch(f"{why}the traceback is in sites/x/site.log.", entries[0].refused["raise"])
    log = (tmp_path / "site.log").read_text()
    assert found and f"reference {found[1]}" in log and "Doe^John" in log and "Traceback" in log


def test_a_client_app_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="client app nowhere:app cannot be loaded"):
        Engine(1, client_app="nowhere:app").__enter__()
    with (
        Engine(2, client_app="nowhere:app") as broken,
        pytest.raises(EngineError, match=r"could not be started.*nowhere"),
    ):
        train(broken.grid(settings(NAMES, tmp_path)), NAMES, tmp_path)


def test_a_grid_needs_a_running_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="use it in a `with` statement"):
        Engine(1, client_app=TOY).grid(settings(NAMES, tmp_path))


def test_an_unknown_node_is_refused(engine: Engine, tmp_path: Path) -> None:
    grid = engine.grid(settings(NAMES, tmp_path))
    with pytest.raises(EngineError, match=r"no node 9; nodes are \[1, 2, 3\]"):
        grid.push_messages([Message(RecordDict(), 9, "query.describe")])


def test_options_of_the_command_stand_in_place_of_the_plan() -> None:
    plan = plan_from_mapping({"machine": {"workers": 3, "ray": {"gpus": 0.5}}}, "test")
    assert _with_machine(plan, None, None, None) == plan
    assert _with_machine(plan, 2, None, None).machine.workers == 2
    there = _with_machine(plan, None, None, "head:6379").machine
    assert (there.engine, there.workers) == (EngineName.RAY, 3)
    assert there.ray == RayConfig(address="head:6379", gpus=0.5)
    own = _with_machine(plan, None, EngineName.RAY, None).machine
    assert (own.engine, own.ray.address) == (EngineName.RAY, "")


counting = ClientApp()


@counting.train()
def _count(message: Message, context: Context) -> Message:
    """A stock client that would notice an earlier message's context."""
    seen = int(context.state.get("seen", ConfigRecord({"n": 0}))["n"])  # type: ignore[call-overload]
    context.state["seen"] = ConfigRecord({"n": seen + 1})
    arrays = message.content["arrays"]
    metrics = MetricRecord({"num-examples": 1, "seen": seen})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@pytest.mark.parametrize("workers", [1, 2])
def test_stock_strategies_run_on_it_and_sites_share_nothing(workers: int, tmp_path: Path) -> None:
    """Flower's own FedAvg, three rounds over two sites; ``seen`` is 0 in all of them."""
    with Engine(workers, client_app=f"{__name__}:counting") as engine:
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2)
        result = strategy.start(
            grid=engine.grid(settings(("a", "b"), tmp_path)),
            initial_arrays=ArrayRecord([START["encoder.a"]]),
            num_rounds=3,
        )
    assert [record["seen"] for record in result.train_metrics_clientapp.values()] == [0, 0, 0]
    assert (result.arrays.to_numpy_ndarrays()[0] == START["encoder.a"]).all()


def test_workers_and_their_files_go_when_the_parent_is_killed(tmp_path: Path) -> None:
    """SIGKILL cannot be caught: the workers must notice by themselves, in mid-task."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, threading, time
            from pathlib import Path
            from simulations.engine import Engine
            from tests.federation.toy_phase import settings, train

            if __name__ == "__main__":
                names, here = ("late-1", "late-2"), Path({str(tmp_path)!r})
                with Engine(2, client_app={TOY!r}) as engine:
                    grid = engine.grid(settings(names, here))
                    threading.Thread(target=train, args=(grid, names, here)).start()
                    workers = engine._runner._pool._workers
                    while not all(worker and worker.started for worker in workers):
                        time.sleep(0.05)  # a process that still loads its modules notices nothing
                    children = [child.pid for child in multiprocessing.active_children()]
                    print(*children, engine._runner._shared.path, flush=True)
                    time.sleep(60)
            """
        )
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert parent.stdout is not None
    first, second, folder = parent.stdout.readline().split()
    time.sleep(1.0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (
        _alive(int(first)) or _alive(int(second)) or Path(folder).exists()
    ):
        time.sleep(0.05)
    assert not _alive(int(first)) and not _alive(int(second))
    assert not Path(folder).exists()


def _alive(pid: int) -> bool:
    """Is the process running? A zombie, whom its new parent has not yet buried, is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_memory_does_not_grow_with_the_sites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peak of what Python and NumPy allocate, in copies of an 8 MB model of 16 arrays.

    What the sites start from, the running sum and one reply are three; the toy site in this process
    works on one array at a time. The start was there before the measurement.
    """
    model = {f"encoder.{i}": np.ones(1 << 17, np.float32) for i in range(16)}
    size = sum(array.nbytes for array in model.values())
    monkeypatch.setattr("tests.federation.toy_phase.START", model)
    peaks = []
    for count in (2, 12):
        names = [f"s{number}" for number in range(count)]
        with Engine(1, client_app=TOY) as engine:
            tracemalloc.start()
            train(engine.grid(settings(names, tmp_path)), names, tmp_path)
            peaks.append(tracemalloc.get_traced_memory()[1] / size)
            tracemalloc.stop()
    assert max(peaks) < 3.5, peaks
    assert abs(peaks[1] - peaks[0]) < 0.1, peaks
