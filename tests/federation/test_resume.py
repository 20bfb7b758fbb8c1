"""Real processes, killed with SIGKILL in the middle of a round, then resumed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.killed import plan_of
from tests.federation.small import with_states
from tests.support.forks import MODULE, Fork, Forks

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Federation:
    """The run of :mod:`tests.federation.killed`, in a process of its own each time."""

    forks: Forks
    built: Path
    folder: Path
    workers: int
    aggregation: str = "fedavg"

    def start(self) -> tuple[Fork, Path]:
        """The process, and the file that it writes to."""
        log = self.folder / f"{len(list(self.folder.glob('*.log')))}.log"
        log.touch()
        words = (
            self.built,
            self.folder / "states",
            self.folder / "run",
            self.workers,
            self.aggregation,
        )
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        module = "tests.federation.killed"
        return self.forks.start(MODULE, module, *words, cwd=ROOT, out=log, env=env), log

    def kill_in_round(self, before: str) -> None:
        """SIGKILL once the round after ``before`` has left something at a site."""
        process, log = self.start()
        kept = "decoder/round-00002*" if "pretrain" in before else "optimizer/finetune-00002*"
        deadline = time.monotonic() + 120
        while not list((self.folder / "states" / "alpha").glob(f"*/{kept}")):
            assert time.monotonic() < deadline and process.poll() is None, log.read_text()
            time.sleep(0.002)
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
        assert f"\n{before}" in log.read_text()

    def end(self) -> tuple[tuple[str, str], str]:
        """Final digest with what sites found of their models, and everything that was printed."""
        process, log = self.start()
        assert process.wait(120) == 0, log.read_text()
        output = log.read_text()
        return (output.rpartition("digest ")[2].strip(), found(self.folder / "run")), output


def found(run: Path) -> str:
    """Scores of all models at all sites, those of a site's own too."""
    return (run / "evaluation.json").read_text()


@pytest.fixture(scope="module")
def built(built_sites: list[SiteSettings]) -> Path:
    return built_sites[0].manifest.parents[1]


@pytest.fixture(scope="module")
def uninterrupted(
    built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[str, str]]:
    """Digest and scores of the same run in this process, by aggregation rule."""

    @lru_cache
    def run(aggregation: str) -> tuple[str, str]:
        folder = tmp_path_factory.mktemp("whole")
        with Engine(1) as engine:
            grid = engine.grid(with_states(built_sites, folder / "states"))
            result = run_federation(grid, plan_of(aggregation), folder / "run")
        return result.digest, found(folder / "run")

    return run


@pytest.mark.parametrize(
    ("before", "workers", "aggregation"),
    [
        ("pretrain round 1/3", 1, "fedavg"),
        ("finetune round 1/3", 1, "fedavg"),
        pytest.param("finetune round 1/3", 2, "fedavg", marks=pytest.mark.slow),
        ("finetune round 1/3", 1, "fedadam"),
        ("finetune round 1/3", 1, "scaffold"),
        ("finetune round 1/3", 1, "fedrep"),
        ("finetune round 1/3", 1, "ditto"),
        ("finetune round 1/3", 1, "fedavgm"),
        pytest.param("finetune round 1/3", 1, "fedyogi", marks=pytest.mark.slow),
        pytest.param("finetune round 1/3", 1, "fedadagrad", marks=pytest.mark.slow),
    ],
)
def test_killed_in_round_two_and_resumed_gives_the_same_bits(
    forks: Forks,
    built: Path,
    tmp_path: Path,
    uninterrupted: Callable[[str], tuple[str, str]],
    before: str,
    workers: int,
    aggregation: str,
) -> None:
    """The site's own weights and moments of the killed round are there, and must not be used.

    Nor does a rule that remembers something begin afresh: its moments come from the journal.
    """
    federation = Federation(forks, built, tmp_path, workers, aggregation)
    federation.kill_in_round(before)
    phase = before.split()[0]
    assert not (tmp_path / "run" / "journal" / f"{phase}-0002.json").exists()
    ended, output = federation.end()
    assert ended == uninterrupted(aggregation)
    assert f"{phase} round 1/3" in output and "from the journal" in output
    assert not [path for path in (tmp_path / "run" / "journal").iterdir() if path.suffix != ".json"]
