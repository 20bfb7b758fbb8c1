"""A round at a site: put the global weights in, train, take the shared groups out."""

import math
import time
from collections.abc import Set
from dataclasses import replace

import numpy as np

from client.personal import train_personal
from client.request import Request
from client.state import Own
from client.wire import make_update
from echofm_core.contract import (
    BASE,
    CONTROL,
    CONTROL_ROUND,
    DECODER,
    EF_PROBE,
    GLOBAL_LOSS,
    HEADS,
    LOCAL_STEPS,
    PROXIMAL_MU,
    SHARE,
    TEACHER,
    TRAIN,
    TRUNK,
    VALIDATE,
    VALIDATION,
    Phase,
    Update,
    Weights,
    group_of,
    releases,
)
from echofm_core.data.windows import ClipWindows
from echofm_core.models.local_names import local_names
from echofm_core.models.masked_predictor import MaskedPredictor
from echofm_core.models.weights import load_arrays, to_arrays
from echofm_core.plan.federation import Aggregation
from echofm_core.post_processing import from_site, post_processing
from echofm_core.privacy.config import Account, PrivacyKind
from echofm_core.runtime.errors import FederationError, PolicyError
from echofm_core.training.config import JudgedBy
from echofm_core.training.execution.launch import train_round
from echofm_core.training.objectives.phases import Model, build_model, validation_loss
from echofm_core.training.objectives.targets import labelled_targets
from echofm_core.training.steps.control import ControlFiles
from echofm_core.training.steps.job import LocalContext, RoundReport
from echofm_core.training.watch import Watched, watch


def train(request: Request) -> Update:
    """One round, of pre-training or of training on this site's own labels.

    What stays here (a decoder that is not shared; in fine-tuning what the plan calls personal) is
    that of the round before, and kept with this one.

    Raises:
        FederationError: What the stage leaves as it is was not sent, and is not here.
        PolicyError: Something is asked for that stays here.
    """
    plan, instruction, state = request.plan, request.instruction, request.state
    work, number = _LocalRound(request), instruction.round
    if work.shares:
        return work.shared_final()
    kind, first = work.own, work.stage.first
    model = build_model(plan, work.phase, work.stage)
    own = state.own(kind, number, first)
    sent = {**instruction.weights, **work.frozen(), **work.extra(BASE), **own}
    load_arrays(model, sent)
    report = work.train(model, sent)
    if report.counts and (kept := work.kept(model, report.counts.keys())):
        state.keep_own(kind, kept, number, first)
    if work.ends_phase(report):
        state.forget_frozen()
    return work.update(model, report)


class _LocalRound:
    """One instruction at one site, from its weights to what leaves the site."""

    def __init__(self, request: Request) -> None:
        self.started = time.monotonic()
        self.request, self.state, self.instruction = request, request.state, request.instruction
        self.site, self.plan, self.phase = request.site, request.plan, request.instruction.phase
        self.shared = {group_of(name) for name in self.instruction.weights}
        pretraining = self.phase is Phase.PRETRAIN
        self.own = Own.DECODER if pretraining else Own.LOCAL
        self.local = frozenset[str]() if pretraining else local_names(self.plan)
        self.trains = bool(self.instruction.settings.get(TRAIN, 1.0))
        self.shares = self._shares_final()
        asked = sorted(self.local & self.instruction.weights.keys())
        if asked and not self.shares:
            raise PolicyError(
                f"the server asks for {asked[0]}, but by the plan's table [personal] it stays here."
            )
        # What is only validated came of the round before, which may end a stage.
        last = self.instruction.round - (not self.trains)
        self.stage = self.plan.table_of(self.phase).stage_of(last)
        self.control, self.global_loss = None, math.nan
        if self.plan.federation.aggregation is Aggregation.SCAFFOLD:
            number, base = self.instruction.round, self.instruction.settings.get(CONTROL_ROUND, 0)
            self.control = ControlFiles(self.state.folder, self.phase, number, int(base))

    def shared_final(self) -> Update:
        """What this site kept of its own, where the plan sends it once after the last round.

        Raises:
            FederationError: It has trained nothing of its own.
        """
        own = self.state.own(Own.LOCAL, self.instruction.round)
        if not own:
            raise FederationError("this site has trained no round, and has no part of its own.")
        targets, rows = labelled_targets(
            self.site.train_clips(self.phase).manifest, self.plan.finetune
        )
        counts = {group_of(name): len(rows) for name in own if group_of(name) in TRUNK}
        labels = {f"{HEADS}.{task}": np.isfinite(values).sum() for task, values in targets.items()}
        counts |= {head: int(count) for head, count in labels.items() if count}
        # Of what was asked for alone: the policy is held against the names in the message.
        asked = own.keys() & self.instruction.weights.keys()
        weights = {name: own[name] for name in own if name in asked and group_of(name) in counts}
        steps = post_processing(self.plan.federation)
        return make_update(
            site=self.site.name,
            instruction=self.instruction,
            weights=from_site(steps, weights, self.instruction.weights),
            counts=counts,
            metrics={"seconds": round(time.monotonic() - self.started, 3)},
        )

    def _shares_final(self) -> bool:
        """Whether what stays here is asked for, and the plan sends it, after its last round."""
        asked = bool(self.instruction.settings.get(SHARE)) and not self.trains
        after = self.instruction.round > self.plan.rounds_of(self.phase)
        return asked and after and bool(self.local) and self.plan.personal.share_final

    def ends_phase(self, report: RoundReport) -> bool:
        """Whether nothing more is asked of this site in the phase."""
        if self.instruction.round < self.plan.rounds_of(self.phase):
            return not report.counts
        validates = self._probed or len(self.site.validation_clips(self.phase))
        return not (report.counts and self.plan.validates and validates)

    def kept(self, model: Model, trained: Set[str]) -> Weights:
        """What stays here of a trained model, of the groups that were trained.

        A head without labels here is no part of this site's own, but of the model that is sent.
        """
        if self.phase is Phase.PRETRAIN:
            return {} if DECODER in self.shared else to_arrays(model, [DECODER])
        arrays = to_arrays(model, {group_of(name) for name in self.local} & trained)
        return {name: array for name, array in arrays.items() if name in self.local}

    def frozen(self) -> Weights:
        """What the stage leaves as it is, sent now or kept.

        Raises:
            FederationError: It is not here, or a teacher is needed and was not meant.
        """
        weights = self.state.frozen(self.instruction.frozen, self.instruction.frozen_digest)
        if self.stage.latent and TEACHER not in map(group_of, weights):
            raise FederationError(
                f"round {self.instruction.round} of pre-training has latent targets, but the "
                "server names no teacher; install the same version of echofm-federated on both."
            )
        return weights

    def extra(self, prefix: str) -> Weights:
        """Arrays of a kind that came beside the model, by the names of their parameters."""
        found, start = self.instruction.extra.items(), f"{prefix}/"
        return {name.removeprefix(start): it for name, it in found if name.startswith(start)}

    def train(self, model: Model, sent: Weights) -> RoundReport:
        """Validate the model as it came, where that is asked for and the plan has it, then train.

        Nothing is trained where the instruction says so: then no group has clips behind it. With
        Ditto the site's own model is trained first, from the same ``sent``.
        """
        site, plan, instruction = self.site, self.plan, self.instruction
        metrics: dict[str, float] = {}
        if instruction.settings.get(VALIDATE) and plan.validates:
            metrics |= self._judged(model)
        if not self.trains:
            return RoundReport(counts={}, metrics=metrics)
        if plan.federation.aggregation is Aggregation.QFEDAVG:
            self.global_loss = self._global_loss(model)
        if self.control:
            self.control.begin(self.extra(CONTROL), instruction.weights)
        context = LocalContext(
            seed=plan.seed,
            site=site.name,
            round=instruction.round,
            rounds=self.stage.last,
            first=self.stage.first,
            execution=site.execution,
            proximal_mu=instruction.settings.get(PROXIMAL_MU, 0.0),
            local=tuple(sorted(self.local)),
            alternate_steps=plan.personal.alternate_steps if self.local else 0,
            control=self.control is not None,
            state=self.state.folder,
            account=Account(self.state.root, instruction.run, self.request.policy.budget),
            privacy=plan.privacy,
            noise_multiplier=self._noise(),
            until=self.request.until,
        )
        if plan.personal.ditto and self.phase is Phase.FINETUNE:
            train_personal(self.request, model, sent, context)
        clips = site.train_clips(self.phase)
        report = train_round(model, clips, plan, context)
        metrics |= self._watched(model, clips)
        return replace(report, metrics={**report.metrics, **metrics})

    def update(self, model: Model, report: RoundReport) -> Update:
        """What leaves the site: shared groups with clips behind them, counts and numbers."""
        groups = self.shared | {group_of(name) for name in self.local}
        counts = {group: n for group, n in report.counts.items() if group in groups and n}
        trained = to_arrays(model, list(counts))
        weights = {name: trained[name] for name in trained if name in self.instruction.weights}
        changes = self.control.end(weights) if self.control and counts else {}
        steps = post_processing(self.plan.federation)
        return make_update(
            site=self.site.name,
            instruction=self.instruction,
            weights=from_site(steps, weights, self.instruction.weights),
            counts=counts,
            metrics={**report.metrics, "seconds": round(time.monotonic() - self.started, 3)},
            extra={f"{CONTROL}/{name}": array for name, array in changes.items()},
            numbers=self._numbers(report) if counts else {},
        )

    def _numbers(self, report: RoundReport) -> dict[str, float]:
        """What the aggregation rule needs to know of the round."""
        rule = self.plan.federation.aggregation
        if rule is Aggregation.FEDNOVA:
            return {LOCAL_STEPS: report.metrics["steps"]}
        return {GLOBAL_LOSS: self.global_loss} if rule is Aggregation.QFEDAVG else {}

    def _global_loss(self, model: Model) -> float:
        """Loss of the model as it came on this site's validation patients.

        Raises:
            PolicyError: The site keeps its validation loss to itself.
            FederationError: It has no validation patient with a label.
        """
        if not releases(self.request.policy.released, VALIDATION):
            raise PolicyError(
                "the plan's rule qfedavg weighs sites by their validation loss, which this site's "
                f"policy keeps here; let {VALIDATION} leave (metrics), or agree on another rule."
            )
        clips, site = self.site.validation_clips(self.phase), self.site
        device = site.execution.device
        loss = validation_loss(model, clips, self.plan, site=site.name, device=device)
        if loss is None:
            raise FederationError(
                f"site {site.name} has no validation patients with a label for {self.phase.value}, "
                "by whose loss the plan's rule qfedavg would weigh it; choose another rule."
            )
        return loss

    @property
    def _probed(self) -> bool:
        """Whether rounds of this phase are judged by the probe of their features."""
        return self.phase is Phase.PRETRAIN and self.plan.pretrain.judged_by is JudgedBy.PROBE

    def _judged(self, model: Model) -> dict[str, float]:
        """What rounds are judged by, of the model as it came: less is better."""
        site, device = self.site, self.site.execution.device
        if self._probed:
            # It leaves under the name of the loss: a policy that keeps the probe keeps it here too.
            if not releases(self.request.policy.released, EF_PROBE):
                return {}
            found = self._watched(model, site.train_clips(self.phase)).get(EF_PROBE)
            return {} if found is None else {VALIDATION: 1 - found}
        clips = site.validation_clips(self.phase)
        loss = validation_loss(model, clips, self.plan, site=site.name, device=device)
        return {} if loss is None else {VALIDATION: loss}

    def _watched(self, model: Model, clips: ClipWindows) -> dict[str, float]:
        """Numbers on the features of a pre-trained encoder, where the plan has them."""
        if not (self.plan.watches_features and isinstance(model, MaskedPredictor)):
            return {}
        table, site = self.plan.pretrain, self.site
        watched = Watched.of(clips, table, least=site.min_patients)
        return watch(model.encoder, clips, table, watched, device=site.execution.device)

    def _noise(self) -> float:
        """Noise of DP-SGD, which this site works out for itself; 0 without privacy."""
        plan = self.plan
        if plan.privacy.kind is PrivacyKind.NONE:
            return 0.0
        from echofm_core.privacy.accounting import resolve_noise

        tables = {phase: plan.table_of(phase) for phase in Phase}
        noise = resolve_noise(plan.privacy, tables, self.site.patients_by_phase())
        self.request.policy.check_noise(noise)
        return noise
