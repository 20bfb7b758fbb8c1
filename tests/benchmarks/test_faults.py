"""The fault matrix: how it judges, how it goes on where it was, and two cases of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.faults_case import Case, Outcome, judge
from benchmarks.faults_run import SITES, Command, Submitted, plan_of
from benchmarks.faults_trust import wrong_authority
from benchmarks.faults_world import World, world
from tests.federation.small import build_sites
from tests.support.capture import records
from tests.support.machines import missing
from tests.support.relay import Relay


def ended(folder: Path, *, digest: str = "d", **refused: str) -> Submitted:
    """A run whose journal says that sites were refused in its second round."""

    class Run(Submitted):
        def digest(self) -> str:
            return digest

    journal = folder / "journal"
    journal.mkdir(parents=True)
    for number in (1, 2):
        lost = refused if number == 2 else {}
        there: dict[str, dict[str, str]] = {name: {} for name in SITES if name not in lost}
        entry = {"sites": there, "refused": {name: why for name, why in lost.items() if why}}
        (journal / f"pretrain-{number:04d}.json").write_text(json.dumps(entry))
    log = folder / "log"
    log.write_text("what it said")
    return Run(plan_of("x"), folder, Command(None, log))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("run", "code", "kinds", "fault"),
    [
        ({}, 0, {}, ""),
        ({}, 0, {"losing": True}, "the fault did nothing"),
        ({}, 20, {}, "the run ended with 20: what it said"),
        ({"digest": "e"}, 0, {}, "nothing was lost, and the digest is e"),
        ({"digest": "e", "beta": "late"}, 0, {"losing": True}, ""),
        ({"digest": "e", "beta": "late"}, 0, {"lossless": True}, "need not have"),
        ({"digest": "e", "beta": ""}, 0, {}, "no word on round 2, beta"),
    ],
)
def test_what_a_run_is_judged_by(
    tmp_path: Path, run: dict[str, str], code: int, kinds: dict[str, bool], fault: str
) -> None:
    here = World(tmp_path, {}, None, expected={2: "d"})  # type: ignore[arg-type]
    found = judge(here, ended(tmp_path, **run), code, **kinds).faults  # type: ignore[arg-type]
    assert (fault in found[0]) if fault else not found


def test_a_round_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    run = ended(tmp_path)
    (tmp_path / "journal/pretrain-0002.json").unlink()
    here = World(tmp_path, {}, None, expected={2: "d"})  # type: ignore[arg-type]
    assert judge(here, run, 0).faults == ["1 of 2 rounds are in the journal"]


def test_what_is_kept_and_holds_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    names = ("holds", "does not", "new")
    cases = tuple(Case(name, lambda world: Outcome()) for name in names)
    about = {"seen": [], "seconds": 1, "date": "2026-11-29"}
    kept = {"holds": {"faults": [], **about}, "does not": {"faults": ["it broke"], **about}}
    (tmp_path / "faults.json").write_text(json.dumps(kept))
    monkeypatch.setattr(faults, "CASES", cases)
    monkeypatch.setattr(faults, "KEPT", tmp_path / "faults.json")
    monkeypatch.setattr(faults, "missing", lambda: "")
    monkeypatch.setattr(faults, "run", lambda due, kept: asked.append([it.name for it in due]))
    assert faults.main([]) == 1
    assert asked == [["does not", "new"]]
    assert "NO  does not (1 s, 2026-11-29)\n      it broke" in capsys.readouterr().out
    assert faults.main(["--kept", "--only", "holds"]) == 0
    assert len(asked) == 1


def test_the_relay_delays_and_stalls_and_changes_no_byte() -> None:
    """There and back through a delay of 0.1 s each way, every batch of packets losing one."""
    content = bytes(range(256)) * 200

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    async def passed(loss: float) -> tuple[bytes, float]:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as behind:
            target = behind.sockets[0].getsockname()
            relay = Relay((target[0], target[1]), 0.1, loss)
            async with await asyncio.start_server(relay.connection, "127.0.0.1", 0) as front:
                started = time.monotonic()
                reader, writer = await asyncio.open_connection(*front.sockets[0].getsockname()[:2])
                writer.write(content)
                writer.write_eof()
                found = await reader.read()
                writer.close()
                return found, time.monotonic() - started

    plain, quick = asyncio.run(passed(0.0))
    lossy, slow = asyncio.run(passed(1.0))
    assert plain == lossy == content
    assert quick >= 0.2 and slow >= 0.6


def test_what_is_no_tls_is_seen_in_a_stream() -> None:
    hello = b"\x16\x03\x01\x00\x02ab"
    assert list(records(hello + b"\x17\x03\x03\x00\x01c" + b"\x17\x03\x03\x00\x09cut")) == [
        *(22, 23, 23)
    ]
    for stream in (b"GET / HTTP/1.1\r\n", hello + b"HTTP/1.1 200 OK"):
        with pytest.raises(ValueError, match="no TLS record"):
            list(records(stream))


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A coordinator that serves, and hospitals whose nodes have not started."""
    if why := missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("faults")
    with world(folder / "world", build_sites(folder / "built")) as found:
        found.serve()
        yield found


@pytest.mark.slow
@pytest.mark.deployed
@pytest.mark.timeout(300)
def test_a_case_that_needs_no_run(serving: World) -> None:
    outcome = wrong_authority(serving)
    assert not outcome.faults, outcome.faults
    assert outcome.seen[-1].startswith("FAIL: server")
