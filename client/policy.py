"""What a hospital allows: the table ``[policy]`` of ``site.toml``, held against every message.

Symptom: a plan asks for more than the hospital agreed to, by mistake or by malice: no privacy, a
billion passes, a decoder that draws its patients' pictures. Reason: the server writes the plan, and
it can write any that is valid. Protocol: each message is held against the policy before anything is
trained or tested; what the policy does not allow is refused with one sentence, which names the key;
nothing in a message widens it. What can still go wrong: whoever may write ``site.toml`` may change
the policy; and weights tell something of patients whatever the policy says, unless it requires
noise.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable
from dataclasses import astuple, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from client.plan_message import TRAINS
from echofm_core.contract import (
    DECODER,
    EF_PROBE,
    EFFECTIVE_RANK,
    ENCODER,
    EVERY_NUMBER,
    HEADS,
    LOCAL_STEPS,
    LORA_A,
    LORA_B,
    LOSS,
    STF_NET,
    UPDATE_METRICS,
    VALIDATION,
    Action,
    Instruction,
    Phase,
    Score,
    SiteResult,
    Update,
    group_of,
    releases,
)
from echofm_core.plan.document import Plan
from echofm_core.plan.section import Section
from echofm_core.privacy.config import Budget, PrivacyKind
from echofm_core.runtime.errors import PolicyError
from echofm_core.runtime.text import many
from echofm_core.tasks import Task

#: Numbers of an update that say how it was made, and nothing of a patient's pictures or labels.
NO_MEASURES = frozenset(UPDATE_METRICS) - {LOSS, VALIDATION, EFFECTIVE_RANK, EF_PROBE}


class Group(StrEnum):
    """Parameter groups that may leave a site; ``heads`` stands for those of all tasks."""

    ENCODER = ENCODER
    DECODER = DECODER
    STF_NET = STF_NET
    HEADS = HEADS
    LORA_A = LORA_A
    LORA_B = LORA_B


class Demand(StrEnum):
    """Whether the site insists on something."""

    OPTIONAL = "optional"
    REQUIRED = "required"


class OnChange(StrEnum):
    """What a site does where its data have changed in the middle of a run."""

    SAY = "say"
    REFUSE = "refuse"


class Policy(Section):
    """The ``[policy]`` table of ``site.toml``; nothing that a server sends widens it."""

    approved_plans: Demand = Demand.REQUIRED
    """``required``: only plans run here that `echofm client approve` recorded, each with the code
    that was installed then."""
    phases: tuple[Phase, ...] = tuple(Phase)
    """Phases that this site trains in."""
    tasks: tuple[Task, ...] = tuple(Task)
    """Tasks that it trains and tests."""
    groups: tuple[Group, ...] = tuple(group for group in Group if group is not Group.DECODER)
    """Parameter groups that may leave. A decoder draws what it learned of the site's pictures; one
    that the plan does not share never leaves, whatever stands here."""
    privacy: Demand = Demand.OPTIONAL
    """``required``: this site trains in private plans alone (``privacy.kind = "local"``)."""
    max_epsilon: float = Field(default=0.0, ge=0, le=1e6)
    """Largest epsilon of a private plan; one that names its noise instead is refused. 0: any."""
    max_delta: float = Field(default=1e-3, gt=0, lt=1)
    """Largest delta of a private plan; an epsilon says little where delta is large."""
    total_epsilon: float = Field(default=0.0, ge=0, le=1e6)
    """Largest epsilon over all private runs that this site ever takes part in, at ``max_delta``, by
    the ledger in its state folder. 0: no limit."""
    min_noise: float = Field(default=0.0, ge=0, le=1e3)
    """Smallest noise multiplier of private training, whether the plan names it or it follows from
    an epsilon."""
    system_noise: bool = True
    """Private plans draw noise from the operating system (``privacy.secure``): noise that follows
    from the plan's seed can be taken away by whoever knows the plan."""
    min_patients: int = Field(default=5, ge=1, le=10_000)
    """Fewest patients behind any count, loss, score or weight that leaves: a label that fewer have
    in a split counts as none there, and a split with fewer counts as empty. A score of a class that
    fewer test patients have, or do not have, leaves as not defined."""
    data_changes: OnChange = OnChange.SAY
    """A run uses the data of its first message. Where clips of it have changed since, or are gone,
    ``say`` writes that into log and audit, and the run goes on with the others; ``refuse`` refuses
    the run's messages until they are as they were. New clips and patients who withdrew are none."""
    digits: int = Field(default=0, ge=0, le=17)
    """Significant digits of losses and scores that leave; 0: all."""
    metrics: tuple[Annotated[str, Field(pattern=r"^[a-z0-9_/*]{1,64}$")], ...] = Field(
        default=(EVERY_NUMBER,), max_length=64
    )
    """Names of losses and scores that may leave, such as ``loss``, ``ef/mae`` or ``ef/*``. The
    coordinator learns of this list before any result: none is kept back for being bad."""
    max_evaluations: int = Field(default=10, ge=0, le=1_000_000)
    """Tests of a model on this site's test patients that one run may ask for."""
    max_rounds: int = Field(default=1000, ge=1, le=1_000_000)
    """Rounds that a phase may have."""
    max_steps: int = Field(default=20_000, ge=1, le=1_000_000_000)
    """Optimizer steps that one round may take here."""
    max_minutes: float = Field(default=0.0, ge=0, le=1e5)
    """Minutes that one round may take here; 0: until nobody waits for it any more."""
    hours: str = Field(default="", pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$")
    """Hours of this machine's clock in which it trains and tests, such as ``20:00-06:00``; a round
    that began within them is finished, within ``max_minutes``."""

    def check(self, plan: Plan, instruction: Instruction, now: datetime | None = None) -> None:
        """Hold a message against the policy.

        Args:
            plan: What the message brings.
            instruction: What it asks.
            now: This machine's time; None: as it is.

        Raises:
            PolicyError: Naming the key that does not allow it.
        """
        groups = {group_of(name).partition(".")[0] for name in instruction.weights}
        if instruction.action is Action.EVALUATE:
            groups = set()  # from there no weights come back
            self._check_test(plan)
        phase = TRAINS.get(instruction.action)
        if instruction.action is Action.EVALUATE and plan.personal.last_steps:
            phase = Phase.FINETUNE
        self.check_plan(plan, phase, sorted(groups))
        if instruction.action is not Action.DESCRIBE:
            self._check_hours(now or datetime.now())

    def check_plan(self, plan: Plan, phase: Phase | None, groups: Iterable[str]) -> None:
        """Hold a plan against the policy, before any message of it.

        Args:
            plan: What shall be run.
            phase: What is trained; None: nothing.
            groups: Parameter groups that leave; ``heads`` for those of all tasks.

        Raises:
            PolicyError: Naming the key that does not allow it.
        """
        if phase:
            self._check_phase(plan, phase)
        if plan.finetune.rounds:
            _all_allowed("tasks", plan.finetune.tasks, self.tasks)
        self._check_privacy(plan)
        _all_allowed("groups", groups, self.groups)

    def check_work(self, plan: Plan, phase: Phase, clips: int) -> None:
        """Hold the work of a round against the policy, and that of the last step at its end.

        Args:
            clips: That the round trains on.

        Raises:
            PolicyError: It is more than the policy allows.
        """
        personal, steps = plan.personal, plan.table_of(phase).steps_of_round(clips)
        if phase is Phase.FINETUNE:
            steps = max(steps * (2 if personal.ditto else 1), personal.last_steps)
        if steps > self.max_steps:
            raise _refused("max_steps", self.max_steps, f"a round of {steps} steps")

    def check_noise(self, noise: float) -> None:
        """Hold the noise multiplier that a private round works out to against the policy.

        Raises:
            PolicyError: It is too small.
        """
        if noise < self.min_noise:
            raise _refused("min_noise", self.min_noise, f"a noise multiplier of {noise:.3g}")

    def check_changes(self, changed: bool) -> None:
        """Whether a run may go on where clips of it have changed or are gone.

        Raises:
            PolicyError: It may not; how many there are stays at the site.
        """
        if changed and self.data_changes is OnChange.REFUSE:
            raise PolicyError(
                "this site's data have changed since the run's first message, and its policy has "
                "data_changes = refuse; the site's log says how, and its data of then, or a run of "
                "another plan, end it."
            )

    def end_of_round(self, message_end: float) -> float:
        """Unix time at which a round is given up; ``message_end``: when nobody waits any more."""
        own = time.time() + 60 * self.max_minutes if self.max_minutes else math.inf
        return min(message_end, own)

    def released_update(self, update: Update) -> Update:
        """An update with the losses that may leave, rounded; its other numbers are no losses."""
        metrics = {
            name: value if name in NO_MEASURES else self._rounded(value)
            for name, value in update.metrics.items()
            if name in NO_MEASURES or releases(self.released, name)
        }
        numbers = {
            name: value if name == LOCAL_STEPS else self._rounded(value)
            for name, value in update.numbers.items()
        }
        return replace(update, metrics=metrics, numbers=numbers)

    def released_result(self, result: SiteResult) -> SiteResult:
        """A result with the scores that may leave, rounded.

        Raises:
            PolicyError: None may.
        """
        scores = {
            name: Score(*map(self._rounded, astuple(score)))
            for name, score in result.scores.items()
            if releases(self.released, name.partition("/")[2])
        }
        if result.scores and not scores:
            raise PolicyError("this site's policy lets none of the scores leave (metrics).")
        return replace(result, scores=scores)

    def digest(self) -> str:
        """SHA-256, in hex, of all keys with their values, defaults too, as canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def budget(self) -> Budget:
        """What all runs together may spend."""
        return Budget(self.total_epsilon or None, self.max_delta)

    @property
    def released(self) -> str:
        """The names in ``metrics`` as they are announced."""
        return " ".join(self.metrics)

    def _rounded(self, value: float) -> float:
        return float(f"{value:.{self.digits}g}") if self.digits else value

    def _check_phase(self, plan: Plan, phase: Phase) -> None:
        _all_allowed("phases", [phase], self.phases)
        if (rounds := plan.rounds_of(phase)) > self.max_rounds:
            raise _refused("max_rounds", self.max_rounds, many(rounds, "round"))

    def _check_test(self, plan: Plan) -> None:
        """A last step belongs to no round, whose steps are held against the policy."""
        if (steps := plan.personal.last_steps) > self.max_steps:
            raise _refused("max_steps", self.max_steps, f"a last step of {many(steps, 'step')}")

    def _check_privacy(self, plan: Plan) -> None:
        asked = plan.privacy
        if asked.kind is PrivacyKind.NONE:
            if self.privacy is Demand.REQUIRED:
                raise _refused("privacy", "required", 'privacy.kind = "none"')
            return
        if self.system_noise and not asked.secure:
            raise _refused("system_noise", "true", "privacy.secure = false")
        if self.max_epsilon and (asked.epsilon is None or asked.epsilon > self.max_epsilon):
            found = "no epsilon" if asked.epsilon is None else f"epsilon = {asked.epsilon:g}"
            raise _refused("max_epsilon", self.max_epsilon, found)
        if asked.delta > self.max_delta:
            raise _refused("max_delta", self.max_delta, f"delta = {asked.delta:g}")
        if asked.noise_multiplier is not None:
            self.check_noise(asked.noise_multiplier)

    def _check_hours(self, now: datetime) -> None:
        if not self.hours:
            return
        start, end = self.hours.split("-")
        clock = now.strftime("%H:%M")
        inside = start <= clock < end if start <= end else clock >= start or clock < end
        if not inside:
            raise _refused("hours", self.hours, f"work at {clock}")


#: Of a simulated site, which has no ``site.toml``: all its clips are the experimenter's own.
OPEN = Policy(
    approved_plans=Demand.OPTIONAL,
    groups=tuple(Group),
    system_noise=False,
    max_delta=1 - 1e-9,
    min_patients=1,
    max_evaluations=1_000_000,
    max_rounds=1_000_000,
    max_steps=1_000_000_000,
)


def _all_allowed(key: str, asked: Iterable[str], allowed: Iterable[str]) -> None:
    known = tuple(allowed)
    for name in asked:
        if name not in known:
            raise _refused(key, ", ".join(known) or "none", str(name))


def _refused(key: str, allowed: object, asked: str) -> PolicyError:
    return PolicyError(
        f"this site's policy has {key} = {allowed}, the plan asks for {asked}; change the plan, or "
        "agree on it with the site."
    )
