"""A fault, what is seen after it, and by what it is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.faults_run import Submitted
from benchmarks.faults_world import World


@dataclass(frozen=True)
class Outcome:
    """What was seen.

    Attributes:
        faults: What should not have been; empty where the case holds.
        seen: What was, in sentences.
    """

    faults: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """A fault by name, and what makes it and judges what comes of it.

    Attributes:
        run: Given the federation, whole and without a run; it need not leave it whole.
        alone: Needs no site's node and no run.
    """

    name: str
    run: Callable[[World], Outcome]
    alone: bool = False


def judge(
    world: World,
    run: Submitted,
    code: int,
    *,
    lossless: bool = False,
    losing: bool = False,
    notes: Sequence[str] = (),
) -> Outcome:
    """Has the run ended, with the weights of a run without the fault, or with every loss named?

    Args:
        world: Where it ran.
        run: Its command has ended.
        code: Exit code of it.
        lossless: No site may have lost a round.
        losing: One must have.
        notes: What was seen before.
    """
    faults, lost, missing = [], run.lost(), run.missing()
    rounds = run.plan.pretrain.rounds
    same = run.digest() == world.expected.get(rounds, "unknown")
    if code:
        faults.append(f"the run ended with {code}: {run.command.said()[-400:]}")
    if len(run.entries()) != rounds:
        faults.append(f"{len(run.entries())} of {rounds} rounds are in the journal")
    if missing:
        faults.append(f"the journal has no word on {', '.join(missing)}")
    if lost and lossless:
        faults.append("a site has lost a round, and need not have")
    if not lost and losing:
        faults.append("no site has lost a round, so the fault did nothing")
    if not lost and not code and not same:
        faults.append(f"nothing was lost, and the digest is {run.digest()[:12]}")
    words = "digest as without the fault" if same else f"digest {run.digest()[:12]} of its own"
    losses = [f"{where}: {why}" for where, why in lost.items()] or ["nothing was lost"]
    return Outcome(faults, [*filter(None, notes), *losses, words])
