"""Mean losses over many batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from echofm_core.training.execution.ranks import Ranks
from echofm_core.training.objectives.losses import Losses


class Tally:
    """Mean losses of a round, each task over its labelled clips."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.sums: torch.Tensor | None = None
        self.counts: torch.Tensor | None = None

    def add(self, losses: Losses) -> None:
        """Count one batch, or one part of it."""
        sums = losses.values.detach().double().sum(dim=0).cpu()
        counts = losses.counted.sum(dim=0).cpu()
        self.names = losses.names
        self.sums = sums if self.sums is None else self.sums + sums
        self.counts = counts if self.counts is None else self.counts + counts

    def over(self, ranks: Ranks) -> Tally:
        """What all processes of the round counted together; all ask for it."""
        if ranks.world == 1 or self.sums is None or self.counts is None:
            return self  # without a usable batch no process has counted anything
        whole = Tally()
        whole.names = self.names
        sums, counts = ranks.total(torch.stack((self.sums, self.counts.double())))
        whole.sums, whole.counts = sums, counts.long()
        return whole

    def emptied(self) -> Tally:
        """The same tasks, and nothing counted."""
        empty = Tally()
        empty.names = self.names
        if self.sums is not None and self.counts is not None:
            empty.sums, empty.counts = torch.zeros_like(self.sums), torch.zeros_like(self.counts)
        return empty

    def metrics(self) -> dict[str, float]:
        """``loss``, the sum over tasks, and ``loss/<task>`` where there are several."""
        if self.sums is None or self.counts is None:
            return {}
        means = (self.sums / self.counts.clamp(min=1)).tolist()
        total = {"loss": float(sum(means))}
        if len(means) == 1:
            return total
        return total | {f"loss/{name}": mean for name, mean in zip(self.names, means, strict=True)}

    def to_json(self) -> dict[str, Any]:
        """All of it; numbers come back to the bit."""
        if self.sums is None or self.counts is None:
            return {}
        sums, counts = self.sums.tolist(), self.counts.tolist()
        return {"names": list(self.names), "sums": sums, "counts": counts}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Tally:
        """What :meth:`to_json` gave."""
        tally = cls()
        if values:
            tally.names = tuple(values["names"])
            tally.sums = torch.tensor(values["sums"], dtype=torch.float64)
            tally.counts = torch.tensor(values["counts"], dtype=torch.int64)
        return tally
