"""Federations that fine-tune low-rank adapters of the encoder, by how these are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from echofm_core.models.config import AdapterAveraging
from echofm_core.plan.document import Plan
from echofm_core.plan.study import Training
from echofm_core.training.config import TuneMode
from simulations.methods._api import Federated, Values
from simulations.methods.rules import tried_by


class Adapters(Federated):
    """The plan's federation in mode ``lora``; other keys of the table are the plan's.

    Args:
        name: Of the method.
        words: What it is.
        source: Paper and section.
        local: Whether each site has a second adapter; of the plan's rank, or as the first one.
        keys: Of ``finetune.lora``.
    """

    def __init__(
        self, name: Training, words: str, source: str, *, local: bool = False, **keys: Any
    ) -> None:
        self.name, self.words, self.source = name.value, words, source
        self._local, self._keys = local, keys

    def tables(self, plan: Plan) -> Mapping[str, Mapping[str, Any]]:
        """Mode and tables."""
        lora = {**plan.finetune.lora.model_dump(mode="json"), **self._keys}
        tuned = {"finetune": {"mode": TuneMode.LORA.value, "lora": lora}}
        rank = plan.personal.lora_rank or plan.finetune.lora.rank
        return {**tuned, "personal": {"lora_rank": rank if self._local else 0}}

    def tried(self, plan: Plan) -> Sequence[Values]:
        """Of the key of the plan's rule; ranks are not tried, since they change the bytes."""
        return tried_by(plan.federation.aggregation)


ADAPTERS = (
    Adapters(
        Training.FEDIT,
        "FedIT: adapters (LoRA) whose A and B are averaged each by itself, which is biased.",
        "Zhang et al. 2023, Towards Building the Federated GPT (arXiv 2305.05644), its method",
        averaging=AdapterAveraging.SEPARATE.value,
        freeze_a=False,
    ),
    Adapters(
        Training.FFA_LORA,
        "FFA-LoRA: adapters whose A stays as it was drawn; B alone is trained and averaged.",
        "Sun et al. 2024, Improving LoRA in Privacy-preserving Federated Learning, its method",
        averaging=AdapterAveraging.SEPARATE.value,
        freeze_a=True,
    ),
    Adapters(
        Training.FEDEX_LORA,
        "FedEx-LoRA: as FedIT, and the encoder takes up what the means miss of the mean product.",
        "Singhal et al. 2025, FedEx-LoRA (ACL, arXiv 2410.09432), its method: the residual",
        averaging=AdapterAveraging.EXACT.value,
        freeze_a=False,
    ),
    Adapters(
        Training.DUAL_LORA,
        "Dual LoRA: as FedIT, with a second, local adapter at each site that never leaves it.",
        "Perramon-Llussa et al. 2026, Med-DualLoRA (arXiv 2603.10967), its method",
        local=True,
        averaging=AdapterAveraging.SEPARATE.value,
        freeze_a=False,
    ),
)
