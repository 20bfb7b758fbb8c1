"""The mean of the sites' models, once, after each has trained to the end."""

from collections.abc import Mapping
from typing import Any

from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation
from echofm_core.plan.study import Training
from simulations.methods._api import Federated

#: Most that a plan may say of skipped steps and of a round's seconds.
MOST_SKIPPED, LONGEST = 1_000_000, 2_592_000.0


class OneShot(Federated):
    """FedAvg of one round that has the steps of all: from one start, one mean at the end."""

    name = Training.ONE_SHOT.value
    words = (
        "Fine-tuning at each site from the common encoder, all its steps at once; then the mean of "
        "the sites' weights."
    )
    source = "McMahan et al. 2017, Communication-Efficient Learning, figure 1, with one round"

    def tables(self, plan: Plan) -> Mapping[str, Mapping[str, Any]]:
        """One round of as many steps, or passes, as all rounds of the plan have together.

        The warm-up is in rounds: of one round it is the same share of the steps as of all. A
        round's time, and the steps that it may skip, are those of all, as far as a plan may say so.
        """
        tuning, deadline = plan.finetune, plan.federation.deadline_seconds
        work = {"local_steps": tuning.local_steps * tuning.rounds}
        if not tuning.local_steps:
            work = {"local_steps": 0, "local_epochs": tuning.local_epochs * tuning.rounds}
        return {
            "finetune": {
                "rounds": 1,
                "warmup_rounds": tuning.warmup_rounds / max(1, tuning.rounds),
                "patience": 0,
                "max_skipped_steps": min(tuning.max_skipped_steps * tuning.rounds, MOST_SKIPPED),
                **work,
            },
            "federation": {
                "aggregation": Aggregation.FEDAVG.value,
                "deadline_seconds": min(deadline * max(1, tuning.rounds), LONGEST),
            },
        }
