"""One process among those that share the batches of a round."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from echofm_core.runtime.errors import TrainingError


def slices(samples: int, parts: int) -> list[slice]:
    """Consecutive parts of a batch, sizes differing by at most one; none is empty."""
    ends = np.linspace(0, samples, min(parts, samples) + 1).round().astype(int)
    return [slice(start, end) for start, end in pairwise(ends.tolist())]


#: Exit code of a process that ended because another one did.
LOST_PEER = 75
#: Gradients that are summed at once, in numbers: 64 MB.
BUCKET = 2**24


class LostPeerError(Exception):
    """Another process ended or hangs; its error is the one to report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """This process among them. Methods that exchange something are called by all, in one order.

    Attributes:
        rank: From 0.
        world: Processes; with 1, nothing is exchanged and no process group is needed.
        device: Where what is exchanged lies.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)

    @property
    def first(self) -> bool:
        """Is this the one that writes?"""
        return self.rank == 0

    def share(self, samples: int) -> slice:
        """This process's rows of a batch; none where there are fewer rows than processes."""
        parts = slices(samples, self.world)
        return parts[self.rank] if self.rank < len(parts) else slice(samples, samples)

    def sum_gradients(self, parameters: Sequence[nn.Parameter], usable: bool) -> bool:
        """Replace each gradient by its sum over processes, the same bits for all.

        Parameters are the same ones in the same order everywhere; those that have a gradient
        nowhere keep none. ``usable`` says whether this process's gradients can be used; returned is
        whether those of all can, else they are left as they are.
        """
        if self.world == 1:
            return usable
        owned = [parameter.grad is not None for parameter in parameters]
        flags = torch.tensor([not usable, *owned], dtype=torch.float32, device=self.device)
        broken, *owners = self._reduced(flags).tolist()
        if broken:
            return False
        trained = [item for item, count in zip(parameters, owners, strict=True) if count]
        for bucket in _buckets(trained):
            self._sum_bucket(bucket)
        return True

    def total(self, values: Tensor) -> Tensor:
        """Sum over processes of a tensor of one shape, on the CPU."""
        return values if self.world == 1 else self._reduced(values.to(self.device)).cpu()

    def agree(self, step: int) -> None:
        """Wait for all, and see that all stand at the same step.

        Raises:
            TrainingError: They do not.
        """
        if self.world == 1:
            return
        ends = torch.tensor([step, -step], device=self.device)
        last, first = self._reduced(ends, dist.ReduceOp.MAX).tolist()
        if last != -first:
            raise TrainingError(
                f"the {self.world} processes of a round would begin at different steps, {-first} "
                f"to {last}; remove the folder `progress` of the site's state, and start again."
            )

    def _sum_bucket(self, bucket: Sequence[nn.Parameter]) -> None:
        for parameter in bucket:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [item.grad for item in bucket if item.grad is not None]
        flat = self._reduced(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def _reduced(self, values: Tensor, by: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
        """The values, reduced in place."""
        try:
            dist.all_reduce(values, by)
        except RuntimeError as error:  # what every backend raises for a peer that is gone or late
            raise LostPeerError(str(error).partition("\n")[0]) from error
        return values


#: A process that has the round to itself.
ALONE = Ranks()


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Consecutive ones, of about :data:`BUCKET` numbers together."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        bucket.append(parameter)
        size += parameter.numel()
        if size >= BUCKET:
            yield bucket
            bucket, size = [], 0
    if bucket:
        yield bucket
