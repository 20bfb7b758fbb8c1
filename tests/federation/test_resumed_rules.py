"""Rules that remember something, broken off in the middle of a round and resumed in this process.

What only a process that dies can show is in :mod:`tests.federation.test_resume`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from flwr.app import Message
from flwr.serverapp import Grid

from echofm_core.contract import Phase
from server.ending import FederationResult
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.killed import plan_of
from tests.federation.small import with_states


class StopHereError(Exception):
    """Stands for whatever ends a run within a round."""


def broken_in_round_two(grid: Grid) -> Grid:
    """The same grid, until the first site has answered in round two of fine-tuning."""
    pull = grid.pull_messages

    def pulled(ids: Iterable[str]) -> list[Message]:
        replies = list(pull(ids))
        for about in (reply.metadata for reply in replies):
            if (about.message_type, about.group_id) == ("train.finetune", "2"):
                raise StopHereError
        return replies

    grid.pull_messages = pulled  # type: ignore[method-assign]
    return grid


def federate(
    sites: list[SiteSettings], method: str, folder: Path, *, broken: bool = False
) -> FederationResult:
    """Begin, or go on with, a run."""
    with Engine() as engine:
        grid = engine.grid(with_states(sites, folder / "states"))
        resume = (folder / "run/journal").exists()
        plan = plan_of(method, Phase.FINETUNE)
        grid = broken_in_round_two(grid) if broken else grid
        return run_federation(grid, plan, folder / "run", resume=resume)


@pytest.mark.parametrize(
    "method",
    [
        "fedadam",
        "fedrep",
        "fedavgm",
        pytest.param("fedyogi", marks=pytest.mark.slow),
        pytest.param("fedadagrad", marks=pytest.mark.slow),
    ],
)
def test_broken_off_in_round_two_and_resumed_gives_the_same_bits(
    built_sites: list[SiteSettings], tmp_path: Path, method: str
) -> None:
    """The site's own weights and moments of that round are there, and must not be used.

    Nor does a rule that remembers something begin afresh: its moments come from the journal.
    """
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    with pytest.raises(StopHereError):
        federate(built_sites, method, cut, broken=True)
    assert list((cut / "states/alpha").glob("*/optimizer/finetune-00002*"))
    assert (cut / "run/journal/finetune-0001.json").exists()
    assert not (cut / "run/journal/finetune-0002.json").exists()
    assert federate(built_sites, method, cut).digest == federate(built_sites, method, whole).digest
    first, second = (folder / "run/evaluation.json" for folder in (whole, cut))
    assert first.read_text() == second.read_text()
    journal = (cut / "run/journal").iterdir()
    assert not [path for path in journal if path.suffix != ".json"]
