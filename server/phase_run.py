"""What the round loop of a phase needs to know: who takes part, by which rule, from which round."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from echofm_core.contract import Phase
from echofm_core.plan.federation import FederationConfig
from server.aggregation import Algorithm
from server.live_steps import OnStep, ignore_step


@dataclass(frozen=True, kw_only=True, slots=True)
class Participant:
    """A site that takes part in a phase.

    Attributes:
        node: Flower's node id.
        most: Parameter group -> most clips the site can have behind it; empty: not checked.
    """

    node: int
    most: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attendance:
    """Who is there as a round begins.

    Attributes:
        participants: By site name.
        absent: Sites that may come later -> why they take no part.
    """

    participants: Mapping[str, Participant]
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseRun:
    """All that the loop needs to know of a phase, or of a stage of it.

    Attributes:
        phase, rounds: What to run, how often.
        first: First round to run; greater than 1 when resuming, or in a later stage.
        last: Last round to run, where the phase has another stage behind it; 0: all.
        participants: By site name, as the phase begins.
        attend: Asked before each round, by number, who is there; None: they stay the same.
        federation: Aggregation rule, weights, quorum, deadline, wire precision, bounds.
        plan, plan_hash, run: Passed on to the sites, see :class:`Instruction`.
        steps_within: Clips of a site -> fewest and most steps of a round over them.
        own_rule: The user's aggregation rule, where the plan names one.
        scratch: Folder where early replies wait.
        frozen: Groups that the phase leaves as they are: sent to a site once.
        local: Full names of arrays that stay at the sites: what they begin with is sent once.
        exact_scale: alpha / rank of adapters that are averaged exactly; 0: there are none.
        recent: Norms of the updates that counted in the last rounds before the first, by round.
        recent_control: The same of control variates' changes.
        on_step: Shows what single sites do.
    """

    phase: Phase
    rounds: int
    first: int = 1
    last: int = 0
    participants: Mapping[str, Participant]
    attend: Callable[[int], Attendance] | None = None
    federation: FederationConfig
    plan: str
    plan_hash: str
    run: str
    steps_within: Callable[[int], tuple[int, int]] = lambda clips: (1, 1_000_000_000)
    own_rule: type[Algorithm] | None = None
    scratch: Path
    frozen: frozenset[str] = frozenset()
    local: frozenset[str] = frozenset()
    exact_scale: float = 0.0
    recent: Sequence[Sequence[float]] = ()
    recent_control: Sequence[Sequence[float]] = ()
    on_step: OnStep = ignore_step
