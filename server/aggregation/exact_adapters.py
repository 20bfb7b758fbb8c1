"""Exact averaging of adapters: what the means of A and B miss goes into the layer below them.

Symptom: after a round the encoder is not the mean of the sites' encoders. Reason: a site adds
``s B A`` to a layer W, and the product of the means of A and B is not the mean of the products.
Protocol: A and B are averaged each by itself, and W takes up the residual, so that
``W + s B A`` is exactly the mean of what the sites had. W is sent with each round, since it now
changes; no site sends one back. The rank of the adapters stays what it is. What can still go wrong:
a rule that does not take the plain weighted mean of A and B; the plan refuses those.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import ENCODER, LORA_A, LORA_B, Update, Weights
from echofm_core.data.formats.bfloat16 import as_float32
from server.aggregation._api import Fold, chunks
from server.aggregation.shares import Shares

#: Multiplications of one matrix product: small enough that a thread alone takes it.
PRODUCT = 1 << 17


def layers_below(weights: Weights) -> frozenset[str]:
    """Full names of the encoder's weights that adapters sit on."""
    start = f"{LORA_B}."
    return frozenset(
        f"{ENCODER}.{it.removeprefix(start)}" for it in weights if it.startswith(start)
    )


class ExactAdapters:
    """A round of federated averaging in which the layers below the adapters take the residual.

    With the changes dA and dB of a site since the round began and its share p of the mean, the
    residual ``sum p B A - (sum p B)(sum p A)`` is ``sum p dB dA - (sum p dB)(sum p dA)``: what all
    sites have in common cancels, and so does what rounding on the wire did to it. The first sum is
    one matrix a layer, whatever the number of sites.

    Args:
        fold: The rule's round; its means of A and B are plain ones, by ``shares``.
        sent: What the sites start from, in wire precision.
        current: The same in float32, with the layers below: ``encoder.LAYER`` for each
            ``lora_b.LAYER``.
        shares: Weights of the sites; of A and B they are the same.
        scale: alpha / rank.

    Source: Singhal et al. 2025, FedEx-LoRA (ACL), which adds the residual to the frozen weights.
    """

    def __init__(
        self, fold: Fold, sent: Weights, current: Weights, shares: Shares, scale: float
    ) -> None:
        self._fold, self._sent, self._current = fold, sent, current
        self._shares, self._scale = shares, np.float32(scale)
        self._layers = [name.removeprefix(f"{ENCODER}.") for name in sorted(layers_below(sent))]
        self._products: dict[str, NDArray[np.float32]] = {}
        self._total = 0.0

    def add(
        self,
        weights: Weights,
        counts: Mapping[str, int],
        update: Update | None = None,
        norm: float | None = None,
    ) -> float:
        """Take in one admitted update; returns the L2 norm of its change."""
        norm = self._fold.add(weights, counts, update, norm)
        if LORA_B in counts:
            share = self._shares.of(counts)[LORA_B]
            self._total += share
            for layer in self._layers:
                a, b = (
                    difference(f"{group}.{layer}", weights, self._sent)
                    for group in (LORA_A, LORA_B)
                )
                if layer not in self._products:
                    self._products[layer] = np.zeros((len(b), a.shape[1]), np.float32)
                add_product(self._products[layer], b * np.float32(share), a)
        return norm

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """The next global model, the layers below the adapters with it."""
        model = self._fold.finish()
        for layer in self._layers:
            base, residual = f"{ENCODER}.{layer}", self._products.pop(layer, None)
            if residual is None or not self._total:
                model[base] = self._current[base].astype(np.float32, copy=False)
                continue
            a, b = (
                difference(f"{group}.{layer}", model, self._current) for group in (LORA_A, LORA_B)
            )
            residual /= np.float32(self._total)
            add_product(residual, -b, a)
            residual *= self._scale
            residual += self._current[base]
            model[base] = residual
        return model


def difference(name: str, after: Weights, before: Weights) -> NDArray[np.float32]:
    """By how much an array has changed, in float32."""
    change: NDArray[np.float32] = as_float32(after[name]) - as_float32(before[name])
    return change


def add_product(
    total: NDArray[np.float32], left: NDArray[np.float32], right: NDArray[np.float32]
) -> None:
    """Add ``left @ right`` to a matrix in place, some rows at a time."""
    for rows in chunks(len(left), max(1, PRODUCT // right.size)):
        total[rows] += left[rows] @ right
