"""What happens to a model before it travels: an ordered list that both sides read from the plan.

A site works through it on what it trained, the server on what it sends; clipping, noise and masks
would be further steps of the list, each with a place in it.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from echofm_core.contract import Weights
from echofm_core.data.formats.bfloat16 import to_bfloat16
from echofm_core.plan.federation import FederationConfig, Wire


class Step(Protocol):
    """One step of the list."""

    def from_site(self, trained: Weights, sent: Weights) -> Weights:
        """What a site sends of its weights; ``sent`` is what it started from."""

    def from_server(self, weights: Weights) -> Weights:
        """What the server sends of the global weights."""


@dataclass(frozen=True, slots=True)
class Quantise:
    """Rounding to the number format of the wire, both ways."""

    wire: Wire

    def from_site(self, trained: Weights, sent: Weights) -> Weights:
        """As :meth:`from_server`."""
        return self.from_server(trained)

    def from_server(self, weights: Weights) -> Weights:
        """Rounded; arrays of that format already are not copied."""
        dtype = np.dtype(self.wire.dtype)
        if self.wire is Wire.BF16:
            return {
                name: array if array.dtype == dtype else to_bfloat16(array)
                for name, array in weights.items()
            }
        return {name: array.astype(dtype, copy=False) for name, array in weights.items()}


Steps = tuple[Step, ...]


def post_processing(config: FederationConfig) -> Steps:
    """The steps of a plan, in their order."""
    return (Quantise(config.wire),)


def from_site(steps: Steps, trained: Weights, sent: Weights) -> Weights:
    """What a site sends of its weights, after all steps; see :class:`Step`."""
    for step in steps:
        trained = step.from_site(trained, sent)
    return trained


def from_server(steps: Steps, weights: Weights) -> Weights:
    """What the server sends of the global weights, after all steps."""
    for step in steps:
        weights = step.from_server(weights)
    return weights
