"""A run of toy sites with the true record, journal and round loop, without a model.

As a program it is a simulation that goes on for as long as one likes: ``made.py FOLDER ROUNDS
SECONDS``, where site ``south`` takes so many seconds for a round.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echofm_core.contract import Phase, Weights
from echofm_core.evaluation.model_names import FEDERATED
from echofm_core.live.record import live_run
from echofm_core.plan.federation import FederationConfig
from server import pulled_replies
from server.events import Event, EventKind
from server.journal import Entry, Journal
from server.live_steps import LiveListener
from server.phase import train_phase
from server.phase_run import Participant, PhaseRun
from tests.federation.remote import RemoteGrid
from tests.federation.toy_phase import START

#: The last one's update is not finite, and refused.
NAMES = ("north", "south", "west-nan")
HASH = "0123456789abcdef" * 4
PLAN = 'name = "toy"\n[pretrain]\nrounds = {rounds}\n[finetune]\nrounds = 0\n'


def run_toy(folder: Path, rounds: int = 3, seconds: float = 0.0) -> None:
    """Train to the end, in this process."""
    pulled_replies.POLL = 0.01
    folder.mkdir(exist_ok=True)
    (folder / "plan.toml").write_text(PLAN.format(rounds=rounds))
    journal = Journal(folder, HASH)
    journal.open(resume=False)
    with live_run(folder, {"pretrain": rounds, "finetune": 0}) as live:
        live.expect(FEDERATED)
        listener = LiveListener(live, FEDERATED)
        files = dict.fromkeys(NAMES, 2)
        listener.event(Event(kind=EventKind.DESCRIBED, sites=NAMES, quarantined=files))
        spec = PhaseRun(
            phase=Phase.PRETRAIN,
            rounds=rounds,
            participants={name: Participant(node=n) for n, name in enumerate(NAMES, start=1)},
            federation=FederationConfig(min_sites=2),
            plan="{}",
            plan_hash=HASH,
            run="toy",
            scratch=folder / "scratch",
            on_step=listener.step,
        )

        def keep(entry: Entry, weights: Weights) -> None:
            journal.record(entry, weights)
            journal.validated(entry.phase, entry.round, {"north": 2.0 / entry.round})

        grid = RemoteGrid({"north": 0.0, "south": seconds, "west-nan": 0.0})
        train_phase(grid, START, spec, on_round=keep, on_event=listener.event)


@contextmanager
def running(folder: Path, *, seconds: float = 0.4) -> Iterator[subprocess.Popen[bytes]]:
    """A process in which such a run goes on, from its second round on; killed at the end."""
    words = [sys.executable, "-m", "tests.live.made", str(folder), "5000", str(seconds)]
    process = subprocess.Popen(words, cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 60
        while not (folder / "journal" / "pretrain-0001.json").exists():
            assert process.poll() is None and time.monotonic() < deadline, "it did not begin"
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def add_tests(folder: Path) -> None:
    """The test scores of a site, as the end of a run leaves them."""
    scores = {
        "federated/ef/mae": [6.25, 5.0, 7.5, None],
        "no_network/ef/mae": [9.87, 8.0, 11.0, None],
        "federated/ef/slope": [0.9, 0.8, None, None],
    }
    north = {"site": "north", "patients": {"ef": 40}, "scores": scores}
    failed = {"south": "it did not answer within 5 s."}
    text = json.dumps({"sites": [north], "failed": failed, "plan_hash": HASH})
    (folder / "evaluation.json").write_text(text)


if __name__ == "__main__":
    run_toy(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
