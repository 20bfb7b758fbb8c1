"""What a site hardly learns: tasks whose loss stays where it began, clips that it never sees."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from echofm_core.contract import HEADS, Phase, SiteDescription
from echofm_core.plan.document import Plan
from echofm_core.runtime.text import many
from echofm_core.training.config import FinetuneConfig
from server.advice import advice
from server.journal import Entry, SiteEntry

#: Rounds that a site must have trained a task in before anything is said of it.
LEAST_ROUNDS = 3
#: A task whose last loss is above this share of its first one is named. On the demo's phantoms
#: tasks that were learnt end between 0.14 and 0.44 of it, one that was not at 0.84.
NEAR = 0.8


def unlearned_tasks(entries: Sequence[Entry], plan: Plan) -> dict[str, str]:
    """A sentence for each site with such a task.

    Fine-tuning alone is looked at: masked auto-encoding has no loss that it could reach, and ends
    near its start on noisy cines however well it learns. A private site reports no loss, and
    nothing is said of it.

    Args:
        entries: Rounds in order, of any phase.
        plan: Whose rule and keys decide what may help.
    """
    losses = defaultdict[tuple[str, str], list[float]](list)
    tuned = [entry for entry in entries if entry.phase is Phase.FINETUNE]
    for entry in tuned:
        for site, part in entry.sites.items():
            for task, loss in _losses(part).items():
                losses[site, task].append(loss)
    found = defaultdict[str, list[str]](list)
    for (site, task), values in losses.items():
        first, last = values[0], values[-1]
        if len(values) >= LEAST_ROUNDS and last > NEAR * first:
            words = f"the training loss of {task} began at {first:.2f} and ended at {last:.2f}"
            found[site].append(words)
    helps = advice(plan, len({site for entry in tuned for site in entry.sites}))
    return {
        site: f"{'; '.join(tasks)}: hardly learnt there. {helps}"
        for site, tasks in sorted(found.items())
    }


def unseen_clips(sites: Mapping[str, SiteDescription], config: FinetuneConfig) -> dict[str, str]:
    """A sentence for each site that fine-tunes on fewer windows than it has labelled clips.

    A number of steps does not grow with a site, as a pass over its clips does.
    """
    seen = config.rounds * config.local_steps * config.batch_size
    clips = {site: max(about.labels.values(), default=0) for site, about in sites.items()}
    return {
        site: f"sees {many(seen, 'window')} in {many(config.rounds, 'round')} of fine-tuning and "
        f"has {many(count, 'labelled clip')}, so that some never count. Raise finetune.local_steps."
        for site, count in sorted(clips.items())
        if 0 < seen < count
    }


def _losses(part: SiteEntry) -> Mapping[str, float]:
    """Loss of each task; a site with one task reports it as the whole."""
    named = {
        name.removeprefix("loss/"): value
        for name, value in part.metrics.items()
        if name.startswith("loss/")
    }
    tasks = [group.partition(".")[2] for group in part.counts if group.startswith(f"{HEADS}.")]
    if not named and len(tasks) == 1 and "loss" in part.metrics:
        return {tasks[0]: part.metrics["loss"]}
    return named
