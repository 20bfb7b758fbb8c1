"""Answers on the model: what it is, how it was trained, what it gives.

Each takes the facts of a run and returns sentences; none where they say nothing of it.
"""

from collections.abc import Sequence

from echofm_core.contract import ENCODER, HEADS, STF_NET
from echofm_core.data.windows import MEAN, SD
from echofm_core.evaluation.labels import TASK_TITLES
from echofm_core.evaluation.metrics import DECISION
from echofm_core.models.config import ENCODER_SHAPES
from echofm_core.plan.federation import Select
from echofm_core.plan.study import Training
from echofm_core.privacy.config import PrivacyKind
from echofm_core.report.checklist.facts import Facts
from echofm_core.report.tuning import chosen_words, read_tuning, tuning_sentence
from echofm_core.report.words import encoder_start
from echofm_core.runtime.text import listed, many
from echofm_core.tasks import CLASS_NAMES, TASKS, Task, TaskKind
from echofm_core.training.config import ClassWeights, PhaseConfig

#: Parameter groups as they are written.
_GROUPS = {ENCODER: "encoder", STF_NET: "STF-Net", HEADS: "heads"}


def kind(facts: Facts) -> str:
    """The kind of model, and what it reads."""
    if not facts.tasks:
        return ""
    titles = listed(TASK_TITLES[task] for task in facts.tasks)
    how = ", trained by federated learning," if facts.federated else ""
    return f"Deep learning: a video transformer{how} that reads {titles} from echocardiograms."


def goal(facts: Facts) -> str:
    """What was done with a model in this run."""
    if not facts.tasks:
        return ""
    return f"Development of a model and its evaluation{' on test patients' * bool(facts.model)}."


def preprocessing(facts: Facts) -> str:
    """From a file to what the model is given."""
    if facts.plan is None:
        return ""
    data = facts.plan.data
    field = (
        f"showing {data.field_cm:g} cm from the top of the sector where the size of a pixel is "
        "known, else letterboxed"
        if data.field_cm
        else "letterboxed"
    )
    span = f"{data.window_seconds:g} s" if data.window_seconds else "the whole clip"
    return (
        f"Grey frames of {data.size} x {data.size} pixels, {field}, black outside the ultrasound "
        f"sector; {data.frames} frames at even times over {span}, clips that hold less mirrored in "
        f"time; levels x in [0, 1] as (x - {MEAN}) / {SD} at every site."
    )


def predictors(facts: Facts) -> str:
    """What the model is given of a patient."""
    if facts.plan is None:
        return ""
    return "Frames of cines, their times and the sector's outline; nothing else of a patient."


def architecture(facts: Facts) -> str:
    """Sizes of the model, and how many parameters it has."""
    if facts.plan is None:
        return ""
    model, data = facts.plan.model, facts.plan.data
    shape = ENCODER_SHAPES[model.size]
    sizes = [f"{_GROUPS.get(g, g)} {count:,}" for g, count in facts.parameters.items()]
    count = f"{sum(facts.parameters.values()):,}"
    total = f" Parameters: {count} ({', '.join(sizes)})." if sizes else ""
    without = f" without {', '.join(model.stf_without)}" if model.stf_without else ""
    return (
        f"Input: {data.frames} frames of {data.size} x {data.size} pixels. Encoder: size "
        f"{model.size.value}, a ViT of {shape.depth} blocks, width {shape.width}, {shape.heads} "
        f"attention heads, on patches of {model.tubelet} frames x {model.patch} x {model.patch} "
        f"pixels{', those that touch the sector' if model.sector_only else ''}. STF-Net: "
        f"{model.stf_net.value}{without}. {_heads(facts.plan.finetune.tasks)}{total}"
    )


def _heads(tasks: Sequence[Task]) -> str:
    titles = [TASK_TITLES[task] for task in tasks]
    return f"{'One head' if len(titles) == 1 else 'A head each'} for {listed(titles)}."


def software(facts: Facts) -> str:
    """Versions of the packages."""
    versions = facts.run.summary.get("versions") or {}
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"Versions: {named}." if named else ""


def initialisation(facts: Facts) -> str:
    """What the encoder began with."""
    if facts.plan is None or "start" in facts.run.missing:
        return ""
    return (
        f"The encoder began with {encoder_start(facts.run)}; all other weights were drawn by seed "
        f"{facts.plan.seed}."
    )


def training(facts: Facts) -> str:
    """Hyper-parameters of both phases, the rule of averaging, and privacy."""
    if (plan := facts.plan) is None:
        return ""
    parts = []
    if plan.pretrain.rounds:
        objective = f"target {plan.pretrain.target.value}, {plan.pretrain.mask_ratio:.0%} masked"
        parts.append(f"Pre-training ({objective}): {_phase(plan.pretrain)}.")
    if plan.finetune.rounds:
        parts.append(f"Fine-tuning (mode {plan.finetune.mode.value}): {_phase(plan.finetune)}.")
    # Of a study the rule that its tables call federated; it may have none.
    rule = str(facts.run.summary.get("reference", plan.federation.aggregation.value))
    if facts.federated and rule:
        parts.append(f"Aggregation of {many(_trained(facts), 'site')}: {rule}.")
    private = plan.privacy.kind is not PrivacyKind.NONE
    parts.append(f"Differential privacy: {plan.privacy.kind.value if private else 'none'}.")
    name = facts.run.summary.get("plan_hash")
    known = f" of hash {name}" if name else ""
    parts.append(f"Seed {plan.seed}. Every key is in the resolved plan{known}.")
    if plan.study.tune:
        parts.append("These are the plan's values; where a study chose others, they follow.")
    return " ".join(parts)


def selection(facts: Facts) -> str:
    """Which round is the model, and what could end training early."""
    if (plan := facts.plan) is None:
        return ""
    best = plan.federation.select is Select.BEST
    which = "the round with the least validation loss" if best else "the last round"
    stop = plan.finetune.patience
    early = f"; training stops after {many(stop, 'round')} without a better one" if stop else ""
    return f"The model is that of {which}{early}. No test patient took part in the choice."


def tuning(facts: Facts) -> str:
    """How hyper-parameters were found, where a study did or did not; a run alone says nothing."""
    if (plan := facts.plan) is None or not plan.study.asked:
        return ""
    # The table lies beside the folders of the seeds.
    chosen = chosen_words(read_tuning(facts.run.folder.parent, plan.study))
    return tuning_sentence(plan.study) + (f" Chosen: {chosen}." if chosen else "")


def ensembling(facts: Facts) -> str:
    """Over what predictions are averaged."""
    if facts.plan is None:
        return ""
    several = facts.model == Training.ENSEMBLE.value
    models = "The mean of the sites' own models." if several else "No ensemble: one model."
    return (
        f"{models} A clip's prediction is the mean over at most "
        f"{many(facts.plan.data.test_windows, 'window')}, a study's the mean over its clips."
    )


def imbalance(facts: Facts) -> str:
    """What was done about rare classes."""
    if facts.plan is None or not facts.tasks:
        return ""
    tuning = facts.plan.finetune
    used = [
        *(["rare classes weighted up"] * (tuning.class_weights is ClassWeights.BALANCED)),
        *([f"focal loss, gamma {tuning.focal_gamma:g}"] * bool(tuning.focal_gamma)),
    ]
    return f"In the loss: {'; '.join(used)}." if used else "None in the loss: classes count alike."


def outputs(facts: Facts) -> str:
    """What the model gives, and thresholds."""
    if facts.plan is None or not facts.tasks:
        return ""
    rows = []
    for task in facts.tasks:
        match TASKS[task].kind:
            case TaskKind.REGRESSION:
                rows.append(f"{TASK_TITLES[task]} in {TASKS[task].unit}")
            case TaskKind.BINARY:
                rows.append(f"a probability of {TASK_TITLES[task]}, positive from {DECISION:g} on")
            case TaskKind.MULTICLASS:
                count = len(CLASS_NAMES[task])
                rows.append(f"probabilities of {count} classes of {TASK_TITLES[task]}")
    return f"Output: {'; '.join(rows)}."


def updating(facts: Facts) -> str:
    """What changes a model at a site after the training that is tested."""
    if (plan := facts.plan) is None or not facts.tasks:
        return ""
    shots = listed(map(str, plan.evaluation.few_shot))
    made = [
        *([f"fine-tuning at a left-out site on {shots} of its patients"] if shots else []),
        *(["a last local step at each site"] if plan.personal.last_steps else []),
    ]
    return f"By the plan: {'; '.join(made)}." if made else "None by the plan."


def specification(facts: Facts) -> str:
    """By which digests the model and its plan are known."""
    summary = facts.run.summary
    if not (digest := summary.get("digest")):
        return ""
    place = " in model/ of the run folder" if facts.parameters else ""
    return f"Weights{place}: SHA-256 digest {digest}; plan hash {summary.get('plan_hash')}."


def _phase(phase: PhaseConfig) -> str:
    work = (
        f"{many(phase.local_steps, 'step')} at each site in a round"
        if phase.local_steps
        else f"{many(phase.local_epochs, 'pass', 'passes')} over each site's clips in a round"
    )
    return (
        f"{many(phase.rounds, 'round')}, {work}, batches of {phase.batch_size}, AdamW, peak "
        f"learning rate {phase.learning_rate:g} after a warm-up of {phase.warmup_rounds:g} "
        f"{'round' if phase.warmup_rounds == 1 else 'rounds'}, then cosine decay, weight decay "
        f"{phase.weight_decay:g}, {'with' if phase.augment else 'without'} augmentation"
    )


def _trained(facts: Facts) -> int:
    sites = facts.run.sites
    return int(sites.loc[sites["split"] == "train", "site"].nunique())
