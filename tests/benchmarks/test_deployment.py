"""What judges the load benchmark's figures, which take an hour and are kept, and how it counts."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import deployment
from benchmarks.byte_counter import ByteCounter
from benchmarks.deployment import KEPT, main
from benchmarks.deployment_recovery import programs_below
from benchmarks.deployment_table import Figures, keep, kept, rows_of, slope, typical
from benchmarks.peers.deployed_arrays import BASE, shapes, start
from benchmarks.peers.deployed_server import ROUNDS, Clock, ours, stock
from echofm_core.runtime.array_files import load
from echofm_core.runtime.child_process import child_process
from simulations.engine import Engine
from tests.federation.toy_phase import settings


def crossing(sites: int, rounds: int, seconds: float, megabytes: float) -> dict[str, Any]:
    """Figures of a part whose rounds are all alike, and whose first takes ten times as long."""
    return {
        "sites": sites, "rounds": rounds, "parameters": 86_000_000,
        "seconds": [10 * seconds, *[seconds] * (rounds - 1)],
        "megabytes": [megabytes] * rounds, "cpu": [20.0] * rounds,
        "resident": [1000.0] * rounds, "superlink": [500.0] * rounds,
        "peak": 1500.0, "lost": 0,
    }  # fmt: skip


def figures() -> Figures:
    """Every bar is met."""
    return {
        "wire/flower": crossing(2, 6, 39.0, 1380.0),
        "wire/fp32": crossing(2, 6, 35.0, 1380.0),
        "wire/fp16": crossing(2, 20, 29.0, 690.0),
        "memory/8": {"sites": 8, "training": 2.9, "evaluation": 2.1},
        "memory/32": {"sites": 32, "training": 2.9, "evaluation": 2.1},
        "small/sites": crossing(8, 50, 12.0, 5.0),
        "recovery/kills": {"seconds": {"client app": 30.0, "SuperNode": 80.0, "server app": 40.0}},
    }


def code_of(tmp_path: Path, found: Figures) -> int:
    """Exit code of the command that judges kept figures."""
    keep(tmp_path / "kept.json", found)
    with pytest.raises(SystemExit) as ended:
        main(["--kept", "--figures", str(tmp_path / "kept.json")])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_kept_figures_that_meet_every_bar_exit_with_0(tmp_path: Path) -> None:
    assert code_of(tmp_path, figures()) == 0
    assert len([row for row in rows_of(figures()) if row.bar]) == 2 + 1 + 4 + 2 + 3


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("wire/fp16", {"seconds": [30.5] * 20}),
        ("wire/fp16", {"megabytes": [730.0] * 20}),
        ("wire/fp16", {"resident": [1000.0 + 4 * number for number in range(20)]}),
        ("memory/8", {"training": 3.1}),
        ("memory/32", {"evaluation": 3.1}),
        ("small/sites", {"lost": 1}),
        ("small/sites", {"resident": [1000.0 + 0.2 * number for number in range(50)]}),
        ("recovery/kills", {"seconds": {"client app": 61.0}}),
        ("recovery/kills", {"seconds": {"SuperNode": 91.0}}),
        ("recovery/kills", {"seconds": {"server app": None}}),  # it never went on
    ],
)
def test_one_figure_that_misses_its_bar_exits_with_1(
    tmp_path: Path, part: str, change: dict[str, Any]
) -> None:
    found = figures()
    found[part] = found[part] | change
    assert code_of(tmp_path, found) == 1
    written = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))
    assert [bar["holds"] for bar in written["bars"]].count(False) == 1


def test_single_precision_is_shown_beside_the_peer_and_held_to_nothing(tmp_path: Path) -> None:
    found = figures()
    found["wire/fp32"] = crossing(2, 6, 500.0, 9000.0)
    assert code_of(tmp_path, found) == 0


def test_growth_is_that_after_the_warm_up_by_hand() -> None:
    """Two rounds of ten are warm-up, whatever they take; then 1 MB each."""
    assert slope([500.0, 900.0, *(float(number) for number in range(8))]) == pytest.approx(1.0)


def test_the_first_round_in_which_processes_start_does_not_count() -> None:
    assert typical([100.0, 1.0, 3.0, 2.0]) == 2.0


def test_a_run_that_was_stopped_goes_on_with_the_parts_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second part; the first is on the disk by then, and is not measured again."""
    made: list[str] = []

    def parts_of(stopped: bool) -> dict[str, Callable[[], dict[str, Any]]]:
        def part(name: str) -> Callable[[], dict[str, Any]]:
            def measured() -> dict[str, Any]:
                if stopped and name == "memory/32":
                    raise KeyboardInterrupt
                made.append(name)
                return figures()[name]

            return measured

        return {name: part(name) for name in ("memory/8", "memory/32")}

    path = tmp_path / "kept.json"
    monkeypatch.setattr(deployment, "parts_of", lambda scale: parts_of(stopped=True))
    with pytest.raises(KeyboardInterrupt):
        main(["--figures", str(path)])
    monkeypatch.setattr(deployment, "parts_of", lambda scale: parts_of(stopped=False))
    with pytest.raises(SystemExit, match="0"):
        main(["--figures", str(path)])
    assert made == ["memory/8", "memory/32"]
    assert set(kept(path)) == set(made)
    with pytest.raises(SystemExit, match="0"):
        main(["--figures", str(path), "--again"])
    assert made == ["memory/8", "memory/32"] * 2


@pytest.mark.skipif(not KEPT.exists(), reason="the whole benchmark has not run yet")
def test_what_is_kept_is_judged_as_it_was_when_it_was_made() -> None:
    written = json.loads(KEPT.read_text(encoding="utf-8"))["bars"]
    rows = rows_of(kept(KEPT))
    assert [row.what for row in rows] == [bar["what"] for bar in written]
    assert [row.holds for row in rows] == [bar["holds"] for bar in written]


def test_the_arrays_are_those_of_a_vit_base() -> None:
    """Twelve blocks of 7,087,872; 590,592 of patches, 1,536 of the last norm, 151,296 places."""
    found = shapes(*BASE)
    sizes = [shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in found.values()]
    assert (len(found), sum(sizes)) == (149, 12 * 7_087_872 + 590_592 + 1_536 + 151_296)


@pytest.mark.parametrize("contestant", ["fp16", "fp32", "flower"])
def test_each_contestant_trains_both_sites_round_by_round(tmp_path: Path, contestant: str) -> None:
    """In this process: a change of our round loop, or of Flower's, breaks no benchmark unseen."""
    run, sites = tmp_path / "run", {"a": 1, "b": 2}
    config = {"contestant": contestant, "rounds": 2, "width": 8, "depth": 1}
    with Engine(client_app="benchmarks.peers.deployed_site:app") as engine:
        grid, clock = engine.grid(settings(list(sites), tmp_path)), Clock(run)
        (stock if contestant == "flower" else ours)(grid, sites, config, clock)
    lines = [json.loads(line) for line in (run / ROUNDS).read_text().splitlines()]
    assert [line["round"] for line in lines] == [0, 1, 2]
    assert all(0 < line["resident"] <= line["peak"] for line in lines)
    if contestant != "flower":
        entries = [json.loads(path.read_text()) for path in (run / "journal").iterdir()]
        assert [list(entry["sites"]) for entry in entries] == [["a", "b"]] * 2
        for name, array in load(run / "checkpoints" / "pretrain-0002.safetensors").items():
            moved = (
                array - start(8, 1)[name]
            )  # two rounds of noise, at most 1e-3 each, and rounding
            assert 0 < moved.mean() < 2e-3


def test_the_relay_counts_each_byte_both_ways_and_changes_none() -> None:
    """More than a pipe holds, to a server that says it again, over two connections."""
    said = os.urandom(3_000_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        with ByteCounter(server.getsockname()[1]) as counter:
            for _ in range(2):
                assert _heard(counter.port, said) == said
            assert counter.total == 4 * len(said)


def _echo(server: socket.socket) -> None:
    """Say again what comes, connection by connection."""
    for _ in range(2):
        connection, _ = server.accept()
        with connection:
            while part := connection.recv(1 << 16):
                connection.sendall(part)


def _heard(port: int, said: bytes) -> bytes:
    heard = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        speaker = threading.Thread(target=_speak, args=(connection, said))
        speaker.start()
        while part := connection.recv(1 << 16):
            heard += part
        speaker.join()
    return bytes(heard)


def _speak(connection: socket.socket, said: bytes) -> None:
    connection.sendall(said)
    connection.shutdown(socket.SHUT_WR)


def test_a_program_is_found_below_a_command_and_not_its_supervisor(tmp_path: Path) -> None:
    """The supervisor's words have the program's name too; killing it is another test."""
    script = tmp_path / "flower-supernode"
    script.write_text("import time; time.sleep(60)", encoding="utf-8")
    with child_process([sys.executable, "-P", str(script)], dict(os.environ)) as supervisor:
        deadline = time.monotonic() + 30
        while not (found := programs_below(os.getpid(), "flower-supernode")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert [item.ppid() for item in found] == [supervisor.pid]
        named = programs_below(os.getpid(), "echofm_core.runtime.child_process")
        assert supervisor.pid in {item.pid for item in named}
