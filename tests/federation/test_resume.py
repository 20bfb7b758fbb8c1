"""Real processes, killed with SIGKILL in the middle of a round, then resumed.

The other rules are broken off and resumed in :mod:`tests.federation.test_resumed_rules`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from echofm_core.contract import Phase
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
    phase: Phase
    workers: int
    aggregation: str

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
            self.phase,
        )
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        module = "tests.federation.killed"
        return self.forks.start(MODULE, module, *words, cwd=ROOT, out=log, env=env), log

    def kill_in_round_two(self) -> None:
        """SIGKILL once that round of its phase has left something at a site."""
        process, log = self.start()
        pretraining = self.phase is Phase.PRETRAIN
        kept = "decoder/round-00002*" if pretraining else "optimizer/finetune-00002*"
        deadline = time.monotonic() + 120
        while not list((self.folder / "states" / "alpha").glob(f"*/{kept}")):
            assert time.monotonic() < deadline and process.poll() is None, log.read_text()
            time.sleep(0.01)
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
        assert f"\n{self.phase} round 1/3" in log.read_text()

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
) -> Callable[[str, Phase], tuple[str, str]]:
    """Digest and scores of the same run in this process, by aggregation rule and phase."""

    @lru_cache
    def run(aggregation: str, phase: Phase) -> tuple[str, str]:
        folder = tmp_path_factory.mktemp("whole")
        with Engine(1) as engine:
            grid = engine.grid(with_states(built_sites, folder / "states"))
            result = run_federation(grid, plan_of(aggregation, phase), folder / "run")
        return result.digest, found(folder / "run")

    return run


@pytest.mark.parametrize(
    ("phase", "workers", "aggregation"),
    [
        (Phase.PRETRAIN, 1, "fedavg"),
        pytest.param(Phase.FINETUNE, 2, "fedavg", marks=pytest.mark.slow),
        (Phase.FINETUNE, 1, "scaffold"),
        (Phase.FINETUNE, 1, "ditto"),
    ],
)
def test_killed_in_round_two_and_resumed_gives_the_same_bits(
    forks: Forks,
    built: Path,
    tmp_path: Path,
    uninterrupted: Callable[[str, Phase], tuple[str, str]],
    phase: Phase,
    workers: int,
    aggregation: str,
) -> None:
    """The site's own weights and moments of the killed round are there, and must not be used.

    Nor does a rule that remembers something begin afresh: its moments come from the journal.
    """
    federation = Federation(forks, built, tmp_path, phase, workers, aggregation)
    federation.kill_in_round_two()
    assert not (tmp_path / "run" / "journal" / f"{phase}-0002.json").exists()
    ended, output = federation.end()
    assert ended == uninterrupted(aggregation, phase)
    assert f"{phase} round 1/3" in output and "from the journal" in output
    assert not [path for path in (tmp_path / "run" / "journal").iterdir() if path.suffix != ".json"]
