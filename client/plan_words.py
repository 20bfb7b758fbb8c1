"""What a plan will do at this site, in plain words: what somebody reads before approving it."""

from collections.abc import Iterable, Iterator

import numpy as np

from client.launch import SiteFile
from client.policy import Policy
from client.site import Site
from echofm_core.contract import (
    DECODER,
    ENCODER,
    HEADS,
    LORA_A,
    LORA_B,
    STF_NET,
    Phase,
    group_of,
)
from echofm_core.models.build import anatomy_of
from echofm_core.models.local_names import local_sizes
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.errors import EchoFMError, PolicyError
from echofm_core.runtime.text import many
from echofm_core.training.config import TuneMode
from echofm_core.training.objectives.finetune import frozen_groups


def plan_in_words(plan: Plan, site: SiteFile) -> Iterator[str]:
    """One line a fact: phases, work, what leaves, privacy, tests, and what the policy says."""
    phases = [phase for phase in Phase if plan.rounds_of(phase)]
    yield f"plan     {plan.run_name()}, hash {plan.digest()}"
    for phase in phases:
        yield f"{phase.value:<8} {many(plan.rounds_of(phase), 'round')}; {_work(plan, phase, site)}"
        yield from _targets(plan, phase)
        yield f"         leaves each round: {', '.join(_leaving(plan, phase))}"
    if plan.personal.share_final:
        yield f"         leaves once, at the end: {', '.join(plan.personal.groups)}"
    if plan.federation.aggregation is Aggregation.CUSTOM:
        rule, sha256 = plan.federation.rule, plan.federation.rule_sha256
        yield f"rule     the coordinator's own, {rule}, SHA-256 {sha256}: it runs there alone"
    yield f"tasks    {_tasks(plan)}"
    yield f"numbers  {_numbers(plan, site.policy)}"
    yield f"privacy  {_privacy(plan)}"
    yield f"tests    {_tests(plan, site.policy)}"
    yield (
        "stays    clips, manifest, predictions of patients, log"
        + ("" if plan.pretrain.share_decoder else ", decoder")
        + "".join(
            f", {group} of fine-tuning{' until the end' if plan.personal.share_final else ''}"
            for group in plan.personal.groups
        )
        + (f", local adapters of rank {rank}" if (rank := plan.personal.lora_rank) else "")
    )
    yield f"policy   {_allowed(plan, phases, site.policy)}"


def shared_groups(plan: Plan, phase: Phase) -> dict[str, int]:
    """Parameter group -> parameters that leave in each round of a phase; all heads are one."""
    anatomy = anatomy_of(plan)
    if phase is Phase.PRETRAIN:
        names = (ENCODER, DECODER) if plan.pretrain.share_decoder else (ENCODER,)
        return {name: anatomy.groups[name] for name in names}
    moving = {ENCODER, STF_NET, HEADS} - frozen_groups(plan.finetune)
    # Mean pooling has no parameters, and no group.
    groups = {name: anatomy.groups.get(name, 0) for name in (ENCODER, STF_NET, HEADS)}
    found = {name: count for name, count in groups.items() if name in moving}
    for name, parameters in local_sizes(plan).items():
        owner = group_of(name).partition(".")[0]
        if owner in found:
            found[owner] -= parameters
    if plan.finetune.mode is TuneMode.LORA:
        found[f"{LORA_A} and {LORA_B}"] = anatomy.adapters
    return {name: parameters for name, parameters in found.items() if parameters}


def _targets(plan: Plan, phase: Phase) -> Iterator[str]:
    """Of pre-training on latent targets, when they begin and where they come from."""
    for stage in plan.table_of(phase).stages():
        if stage.latent:
            yield (
                f"         rounds {stage.first} to {stage.last} predict features that the encoder "
                f"of round {stage.first - 1} finds here, which comes once and is kept meanwhile"
            )


def update_bytes(plan: Plan, phase: Phase) -> int:
    """Bytes of the arrays that leave in a round; a control variate is in fp32 on any wire."""
    each = np.dtype(plan.federation.wire.dtype).itemsize
    if plan.federation.aggregation is Aggregation.SCAFFOLD:
        each += np.dtype(np.float32).itemsize
    return each * sum(shared_groups(plan, phase).values())


def _leaving(plan: Plan, phase: Phase) -> Iterator[str]:
    """Groups with their sizes, and all together; SCAFFOLD sends a control variate with each."""
    each, whole = np.dtype(plan.federation.wire.dtype).itemsize, update_bytes(plan, phase)
    for name, parameters in shared_groups(plan, phase).items():
        yield f"{name} {parameters * each / 1e6:,.1f} MB"
    scaffold = plan.federation.aggregation is Aggregation.SCAFFOLD
    beside = ", with control variates in fp32" if scaffold else ""
    yield f"in all {whole / 1e6:,.1f} MB ({whole:,} bytes) in {plan.federation.wire}{beside}"


def _work(plan: Plan, phase: Phase, site: SiteFile) -> str:
    """Steps of a round over this site's own clips, where they are there to be counted."""
    table = plan.table_of(phase)
    asked = f"{table.local_epochs} passes over the clips"
    if table.local_steps:
        asked = many(table.local_steps, "step")
    try:
        places = {"site": site.name, "manifest": site.manifest, "store": site.store}
        opened = Site.open(places, plan, min_patients=site.policy.min_patients)
        clips = len(opened.train_clips(phase))
        site.policy.check_work(plan, phase, clips)
    except PolicyError as error:
        return f"REFUSED: {error}"
    except EchoFMError as error:
        return f"{asked} a round (clips here are not counted: {error})"
    steps = table.steps_of_round(clips)
    return (
        f"here {many(steps, 'step')} a round of {many(table.batch_size, 'clip')}, over "
        f"{many(clips, 'training clip')}"
    )


def _tasks(plan: Plan) -> str:
    if not plan.finetune.rounds:
        return "none: no label is read for training"
    share = plan.finetune.label_fraction
    part = f"; labels of {share:.3g} of the labelled patients" if share < 1 else ""
    return f"{', '.join(plan.finetune.tasks)}; mode {plan.finetune.mode}{part}"


def _numbers(plan: Plan, policy: Policy) -> str:
    losses = "losses of training" + (" and validation" if plan.validates else "")
    if plan.pretrain.rounds and plan.watches_features:
        ranked, probed = plan.pretrain.watch_patients, plan.pretrain.probe_patients
        losses += ", the effective rank of features" if ranked else ""
        losses += f", how well the EF of {probed} patients is read from features" if probed else ""
    if plan.privacy.kind is not PrivacyKind.NONE:
        losses = "no loss"
    return (
        f"leave with the weights: counts of clips, patients and labels, {losses}; none over fewer "
        f"than {many(policy.min_patients, 'patient')}"
    )


def _privacy(plan: Plan) -> str:
    asked = plan.privacy
    if asked.kind is PrivacyKind.NONE:
        return "none: weights leave without noise, and can tell something of the patients"
    bound = f"noise multiplier {asked.noise_multiplier:g}" if asked.noise_multiplier else ""
    if asked.epsilon is not None:
        bound = f"epsilon {asked.epsilon:g}"
    drawn = "the operating system" if asked.secure else "the plan's seed, which can be taken away"
    return f"{bound} at delta {asked.delta:g} for each patient, over the run; noise from {drawn}"


def _tests(plan: Plan, policy: Policy) -> str:
    if not plan.finetune.rounds:
        return "none"
    digits = f", in {many(policy.digits, 'digit')}" if policy.digits else ""
    return (
        f"on this site's test patients, at most {policy.max_evaluations} in the run; scores leave "
        f"with intervals ({' '.join(policy.metrics)}{digits})"
    )


def _allowed(plan: Plan, phases: Iterable[Phase], policy: Policy) -> str:
    try:
        for phase in phases:
            groups = " and ".join(shared_groups(plan, phase)).split(" and ")
            if phase is Phase.FINETUNE and plan.personal.share_final:
                groups += sorted({group_of(it).partition(".")[0] for it in local_sizes(plan)})
            policy.check_plan(plan, phase, groups)
    except PolicyError as error:
        return f"REFUSED whatever is approved: {error}"
    return "allows it"
