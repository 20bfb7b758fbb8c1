"""One site's work of one round: where in the federation it stands, what it trains, its report."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from echofm_core.contract import Phase, Weights
from echofm_core.data.manifest import without_plain_classes
from echofm_core.data.patients import patient_keys
from echofm_core.models.weights import named_weights, to_arrays
from echofm_core.privacy.config import Account, PrivacyConfig, PrivacyKind
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import EmptySiteError, TrainingError
from echofm_core.runtime.randomness import stream
from echofm_core.training.config import ExecutionConfig, PhaseConfig, Precision
from echofm_core.training.execution.ranks import ALONE, Ranks
from echofm_core.training.objectives.losses import Losses
from echofm_core.training.steps.control import ControlFiles
from echofm_core.training.steps.kept import KeptMoments, RoundProgress
from echofm_core.training.steps.optimizer import RoundSchedule, trainable

#: Keys of a phase's table that came after noise was drawn by its text, see :func:`_table_text`.
LATER = {"target", "teacher_rounds", "watch_patients", "probe_patients", "judged_by"}


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalContext:
    """Where in the federation this local round stands.

    Attributes:
        round: Global round within the phase, from 1.
        rounds: Last round of the phase's stage; the learning-rate schedule ends with it.
        first: First round of the stage: there the schedule begins, and what is kept of earlier
            rounds is another model's.
        proximal_mu: Weight of the FedProx term; 0 is FedAvg.
        anchor: What that term pulls the trained parameters to, float32 by full name; empty: where
            the round begins.
        role: Which of a site's models is trained, where it has more than the global one: its
            streams and files are its own.
        local: Full names of parameters that stay at the site.
        alternate_steps: First steps of the round, which train these alone; the others train the
            rest alone. 0: all steps train all.
        control: Correct gradients by a control variate (SCAFFOLD), from the state folder.
        state: The site's folder for this run: kept optimizer moments and an unfinished round.
        account: Where a private round is charged.
        noise_multiplier: Noise of private training where the plan names an epsilon instead, from
            :func:`echofm_core.privacy.accounting.resolve_noise`.
        until: Unix time at which the round is given up: nobody waits for it any more.
        ranks: This process among those that share the round. Decides nothing but rounding.
    """

    seed: int
    site: str
    round: int
    rounds: int
    first: int = 1
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    proximal_mu: float = 0.0
    anchor: Weights = field(default_factory=dict)
    role: str = ""
    local: tuple[str, ...] = ()
    alternate_steps: int = 0
    control: bool = False
    state: Path | None = None
    account: Account | None = None
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    noise_multiplier: float | None = None
    until: float = math.inf
    ranks: Ranks = ALONE

    def named(self, phase: Phase) -> str:
        """Name of this training: the phase, and the role."""
        return f"{phase}.{self.role}" if self.role else phase.value

    def precision(self, config: PhaseConfig) -> Precision:
        """Number format of this round; float32 where a clipped gradient's norm must be exact."""
        private = self.privacy.kind is not PrivacyKind.NONE
        return Precision.FP32 if private else config.precision


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundReport:
    """What a local round did, beside changing the model in place.

    Attributes:
        counts: Parameter group -> training clips behind it. A group that was frozen, or a head
            without labels here, is absent: it is bitwise what it was. Counts travel to the server
            in clear, under differential privacy too: how many clips have which label is not
            protected, what is in them is.
    """

    counts: Mapping[str, int]
    metrics: Mapping[str, float]


Indices = NDArray[np.int64]


class Objective(Protocol):
    """What is minimised."""

    def __call__(self, rows: Indices, rng: np.random.Generator, parts: int = 1) -> Iterable[Losses]:
        """Draw a window of each clip, and yield the model's losses on one part after the other.

        All draws of a batch come before its first part, so they do not depend on ``parts``. Where
        processes share a batch, each makes all draws and yields the losses of its own rows: a part
        without rows, where it has none.

        Args:
            rows: Clips of the batch, (B,).
            parts: Into how many this process's rows are split; as even as can be, none empty.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalJob:
    """What to train, on what, how.

    Attributes:
        model: On its device; trainable parameters are those with ``requires_grad``.
        clips: Rows that take part, (N,).
        manifest: All of the site's rows for this phase.
        generators: What the objective draws from beside the generator that it is given, by name.

    Raises:
        EmptySiteError: There are no clips.
        TrainingError: Something shall be kept, but the site has no state folder.
    """

    phase: Phase
    model: nn.Module
    objective: Objective
    clips: Indices
    manifest: pd.DataFrame
    config: PhaseConfig
    context: LocalContext
    generators: Mapping[str, torch.Generator] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.clips):
            raise EmptySiteError(
                f"site {self.context.site} has no clip to train on in phase {self.phase}; leave "
                "it out of this phase, or check its labels and views, and min_patients in its "
                "policy."
            )
        keeping = {
            f"{self.phase}.keep_optimizer": self.config.keep_optimizer,
            "federation.aggregation": self.context.control,
            "save_every": self.context.execution.save_every,
        }
        if self.context.state is None and (settings := [key for key in keeping if keeping[key]]):
            raise TrainingError(
                f"site {self.context.site} shall keep files of its own ({', '.join(settings)}), "
                "but has no state folder; give it one."
            )

    @property
    def name(self) -> str:
        """Name of its streams and files."""
        return self.context.named(self.phase)

    def stream(self, purpose: str, number: int | None = None) -> np.random.Generator:
        """Random stream of this site and phase, and of this round or what else is numbered."""
        context = self.context
        number = context.round if number is None else number
        return stream(context.seed, context.site, number, f"{self.name}.{purpose}")

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step of this round."""
        config, before = self.config, self.context.first - 1
        schedule = RoundSchedule(
            peak=config.learning_rate,
            warmup_rounds=config.warmup_rounds,
            rounds=self.context.rounds - before,
        )
        return schedule.of_step(self.context.round - before, step, steps)

    def moments(self) -> KeptMoments | None:
        """Where AdamW's moments are kept; None when each round starts afresh."""
        context = self.context
        state = context.state if self.config.keep_optimizer else None
        return KeptMoments(state, self.name, context.round, context.first) if state else None

    def control(self) -> ControlFiles | None:
        """Where the control variate is; None where the aggregation rule has none."""
        state = self.context.state if self.context.control else None
        return ControlFiles(state, self.phase, self.context.round) if state else None

    def progress(self) -> RoundProgress | None:
        """Where the unfinished round is saved; None where it is not. Ask before the first step."""
        state = self.context.state if self.context.execution.save_every else None
        return RoundProgress(state, self.name, self.fingerprint()) if state else None

    def fingerprint(self) -> str:
        """SHA-256, in hex, of all that decides the round's result; ask before the first step."""
        context, moments, control = self.context, self.moments(), self.control()
        groups = {name.partition(".")[0] for name in named_weights(self.model)}
        source = moments.source() if moments else None
        parts = (
            digest(to_arrays(self.model, groups)),
            "|".join(trainable(self.model)),
            _table_text(self.config),
            f"{context.seed}|{context.site}|{context.round}|{context.rounds}|",
            f"{context.proximal_mu}|{context.privacy}{context.role}",
            # Where the files lie decides nothing.
            without_plain_classes(self.manifest).drop(columns="path").to_json(),
            self.clips.tobytes(),
            source.read_bytes() if source else b"",
            digest(control.correction()) if control else b"",
            f"{context.local}|{context.alternate_steps}" if context.local else b"",
            digest(context.anchor) if context.anchor else b"",
        )
        state = hashlib.sha256()
        for part in parts:
            state.update(part.encode() if isinstance(part, str) else part)
        return state.hexdigest()


def _table_text(config: PhaseConfig) -> str:
    """JSON of a phase's table, with the keys that moved to the machine where they stood in it.

    Repeatable noise of private training is drawn by a digest of this text, and stays what it was:
    keys of :data:`LATER` are left out where they stand at their defaults, and so is the share of
    labels, whose patients are in the manifest that is digested too.
    """
    fields = type(config).model_fields
    added = {key for key in LATER & fields.keys() if getattr(config, key) == fields[key].default}
    text = config.model_dump_json(exclude={*added, "label_fraction"})
    for key, moved in (
        ("learning_rate", '"accumulate":1,'),
        ("precision", '"save_every":0,'),
        ("augment", '"checkpoint_blocks":false,"compile":false,'),
    ):
        text = text.replace(f'"{key}":', f'{moved}"{key}":', 1)
    return text


def patient_numbers(manifest: pd.DataFrame) -> Indices:
    """Number from 0 of each row's patient, in order of first appearance."""
    return pd.factorize(patient_keys(manifest))[0].astype(np.int64)
