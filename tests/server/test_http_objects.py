"""Flower's HTTP grid with our own pushes and pulls: what is held, and uploads that take time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from flwr.proto import message_pb2, runtime_pb2
from flwr.superlink.grid.http_grid import HttpGrid

from benchmarks.server_memory import Link, models_held
from echofm_core.contract import Action, Instruction, Phase, Update
from echofm_core.plan.federation import FederationConfig
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import RefusedUpdateError
from server.http_objects import CONCURRENT, ObjectPull, ahead, push_objects
from server.journal import Entry
from server.phase import train_phase
from server.phase_run import Participant, PhaseRun
from server.wire import read_reply, to_message, wired
from simulations.flower_private import become_server, empty_run

#: Arrays in flight, messages and whatever Python allocates beside, in models of 8 MB.
BESIDE = 0.35
WEIGHTS = {
    "encoder.a": np.arange(2_000_000, dtype=np.float32),
    "encoder.b": np.full((3, 4), 0.5, np.float32),
}


class TracedPeak:
    """Bytes that Python and numpy ask for, exactly; pages of files on disk are none."""

    peak = 0.0

    def __enter__(self) -> TracedPeak:
        tracemalloc.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.peak = float(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


@pytest.mark.parametrize("sites", [2, 10])
def test_memory_does_not_grow_with_the_sites(sites: int) -> None:
    """Training holds the model that sites start from and the running sum; replies are on disk.

    The evaluation holds what is sent and what its caller has. In a process of its own, so
    that nothing counts which other tests have left in this one.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        measured = fresh.submit(models_held, sites, 2_000_000, 40, TracedPeak)
        training, testing = measured.result()
    assert 1.9 < training < 2 + BESIDE
    assert 1.9 < testing < 2 + BESIDE


@dataclass
class PatientLink:
    """A link whose first site answers when all other replies of the round have been pulled."""

    link: Link
    others: int
    pulled: int = 0
    first: str = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.link, name)

    def PushMessages(self, request: Any) -> Any:  # noqa: N802
        answer = self.link.PushMessages(request)
        self.first = answer.message_ids[0]
        return answer

    def PullMessages(self, request: Any) -> Any:  # noqa: N802
        if request.message_ids[0] == self.first and self.pulled < self.others:
            return runtime_pb2.PullAppMessagesResponse()
        self.pulled += 1
        return self.link.PullMessages(request)


def held_while_waiting(sites: int) -> float:
    """Models above base in a round whose first reply comes last: all the others wait on disk."""
    become_server()
    plan = plan_from_mapping({"name": "memory", "finetune": {"tasks": ["ef"]}}, "test")
    rng = np.random.default_rng(1)
    weights = {f"encoder.{n:02d}": rng.random(50_000, np.float32) for n in range(40)}
    link = PatientLink(Link(weights, plan), sites - 1)
    grid = HttpGrid(token="none")
    grid.set_run(empty_run())
    grid._client = link  # type: ignore[assignment]
    entries: list[Entry] = []
    with TemporaryDirectory() as scratch, TracedPeak() as traced:
        spec = PhaseRun(
            phase=Phase.PRETRAIN,
            rounds=1,
            participants={f"s{n:04d}": Participant(node=n) for n in range(1, sites + 1)},
            federation=FederationConfig(max_norm_ratio=3),
            plan="{}",
            plan_hash="x",
            run="memory",
            scratch=Path(scratch),
        )
        # Other numbers than the sites send back, so that every norm is one to judge.
        train_phase(
            grid,
            {name: 2 * array for name, array in weights.items()},
            spec,
            on_round=lambda entry, _: entries.append(entry),
        )
    assert len(entries[0].sites) == sites and link.pulled == sites
    return traced.peak / 8e6


def test_memory_does_not_grow_with_the_replies_that_wait() -> None:
    """For the norm bound, and for a reply that comes late: at most three models, whoever waits."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        assert fresh.submit(held_while_waiting, 12).result() < 3


@dataclass
class SlowLink:
    """A link whose site has uploaded ``there`` objects so far; below zero the upload broke off."""

    link: Link
    there: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.link, name)

    def PullObject(self, request: Any) -> Any:  # noqa: N802
        if self.there == 0:
            return message_pb2.PullObjectResponse(object_found=True, object_available=False)
        if self.there < 0:
            return message_pb2.PullObjectResponse(object_found=False)
        self.there -= 1
        return self.link.PullObject(request)


def asked(there: int, folder: Path) -> tuple[SlowLink, ObjectPull, str]:
    """One site that was asked to train, and what looks for its reply."""
    become_server()
    plan = plan_from_mapping({"name": "memory", "finetune": {"tasks": ["ef"]}}, "test")
    link = SlowLink(Link(dict(WEIGHTS), plan), there)
    grid = HttpGrid(token="none")
    grid.set_run(empty_run())
    grid._client = link  # type: ignore[assignment]
    instruction = Instruction(action=Action.PRETRAIN, round=1, plan="{}", plan_hash="x", run="r")
    model = wired(dict(WEIGHTS), ())
    (message_id,) = push_objects(grid, [to_message(instruction, model.record, 1, 60.0)])
    return link, ObjectPull(grid, folder), message_id


def test_an_upload_is_taken_up_where_it_was(tmp_path: Path) -> None:
    """Five objects a look, of some ten: message, records, arrays, and 8 MB in parts of 5 MB."""
    link, pull, message_id = asked(5, tmp_path)
    looks, reply = 0, None
    while reply is None and looks < 20:
        reply = pull.poll(message_id)
        looks, link.there = looks + 1, 5
    assert looks > 1 and reply is not None
    update = read_reply(reply, Update)
    assert (update.site, update.counts) == ("s0001", {"encoder": 10})
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(update.weights[name], array)
    assert not list(tmp_path.iterdir())


def test_an_upload_that_breaks_off_is_an_error_of_its_site(tmp_path: Path) -> None:
    link, pull, message_id = asked(3, tmp_path)
    assert pull.poll(message_id) is None
    link.there = -1
    reply = pull.poll(message_id)
    assert reply is not None and reply.has_error()
    assert "the site's upload broke off" in str(reply.error.reason)


@dataclass
class HostileLink:
    """A link whose site has put other bytes into its objects of a kind."""

    link: Link
    kind: bytes
    change: Callable[[bytes], bytes]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.link, name)

    def PullObject(self, request: Any) -> Any:  # noqa: N802
        answer = self.link.PullObject(request)
        content = answer.object_content
        if content.startswith(self.kind):
            answer = message_pb2.PullObjectResponse(
                object_found=True, object_available=True, object_content=self.change(content)
            )
        return answer


def body(content: bytes, new: bytes) -> bytes:
    """An object with another body."""
    head, _, _ = content.partition(b"\0")
    return head.rpartition(b" ")[0] + b" %d\0" % len(new) + new


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (b"ConfigRecord", lambda it: body(it, b"\xff\xff\xff")),
        (b"RecordDict", lambda it: body(it, b"no JSON")),
        (b"Array ", lambda it: body(it, b"no JSON")),
        (b"Message", lambda it: it.replace(b"Message", b"Stranger", 1)),
        (b"Message", lambda it: it.replace(b"Message", b"Array", 1)),
        (b"MetricRecord", lambda it: b"no head at all"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_its_site_and_ends_nobodys_run(
    kind: bytes, change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    link, pull, message_id = asked(100, tmp_path)
    read: list[bytes] = []

    def note(content: bytes) -> bytes:
        read.append(content)
        return change(content)

    pull._grid._client = HostileLink(link.link, kind, note)  # type: ignore[assignment]
    reply = pull.poll(message_id)
    assert read and reply is not None and reply.has_error()
    with pytest.raises(RefusedUpdateError, match=r"the site's message cannot be read \(\w+\)\."):
        read_reply(reply, Update)


def test_results_come_in_order_and_few_are_held() -> None:
    """Of ten, no more are begun and not taken than may be under way at a time."""
    begun: list[int] = []

    def double(number: int) -> int:
        begun.append(number)
        return 2 * number

    taken = []
    for result in ahead(double, range(10)):
        taken.append(result)
        assert len(begun) - len(taken) < CONCURRENT
    assert taken == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_what_fails_ends_the_row() -> None:
    """What came before it is there; nothing is begun after it but what was under way."""
    begun: list[int] = []

    def invert(number: int) -> float:
        begun.append(number)
        return 1 / number

    taken: list[float] = []
    with pytest.raises(ZeroDivisionError):
        taken.extend(ahead(invert, [1, 2, 0, 4, 5, 6, 7]))
    assert taken == [1.0, 0.5]
    assert len(begun) <= 3 + CONCURRENT
