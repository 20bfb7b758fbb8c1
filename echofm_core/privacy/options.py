"""Options of training that privacy at the level of patients rules out."""

from echofm_core.runtime.errors import PrivacyError
from echofm_core.training.config import (
    ClassWeights,
    ExecutionConfig,
    FinetuneConfig,
    PhaseConfig,
    Precision,
    class_count,
)


def check_options(config: PhaseConfig, execution: ExecutionConfig) -> None:
    """Refuse options that private training does not keep its promise with.

    Averaging, slower layers, focal loss, stochastic depth and changed windows are fine: they treat
    each patient alone, or what has been noised already.

    Raises:
        PrivacyError: Naming the first such option, why, and what to do.
    """
    table = "finetune" if isinstance(config, FinetuneConfig) else "pretrain"
    layers = "each layer has to give every patient's own gradient"
    refusals = {
        f"accumulate = {execution.accumulate}": (
            execution.accumulate > 1,
            "a step's patients are clipped and noised together",
        ),
        "checkpoint_blocks = true": (execution.checkpoint_blocks, layers),
        "compile = true": (execution.compile, layers),
        f"save_every = {execution.save_every}": (
            execution.save_every > 0,
            "steps done again would use patients a second time, uncounted",
        ),
        f'{table}.precision = "bf16"': (
            config.precision is Precision.BF16,
            "a patient's clipped gradient must be exact",
        ),
        f'{table}.class_weights = "balanced"': (
            _counts_labels(config),
            "the site's own label counts would show in what it sends, unless class_counts names "
            "others for every classification task",
        ),
    }
    for option, (asked, reason) in refusals.items():
        if asked:
            raise PrivacyError(
                f'{option} cannot be had with privacy.kind = "local", because {reason}; take it '
                f"out of {'the plan' if option.startswith(table) else '[machine] or site.toml'}."
            )


def _counts_labels(config: PhaseConfig) -> bool:
    """Would class weights come from the site's labels?"""
    if not isinstance(config, FinetuneConfig) or config.class_weights is ClassWeights.NONE:
        return False
    return any(class_count(task) and task not in config.class_counts for task in config.tasks)
