"""How much the tube mask hides: 166 of 196 positions in each of 8 slots, anew in each sample."""

from __future__ import annotations

import torch

from benchmarks._rows import Bar, Row, finish, parser
from echofm_core.models.masking import Subset, tube_mask
from echofm_core.runtime.randomness import torch_stream

SLOTS, POSITIONS, RATIO, SAMPLES = 8, 14 * 14, 0.85, 64
HIDDEN = 166  # floor(0.85 * 196) = floor(166.6)


def measure() -> list[Row]:
    """Draw masks for a batch and count."""
    seen = torch.ones(SAMPLES, POSITIONS, dtype=torch.bool)
    mask = tube_mask(seen, RATIO, torch_stream(0, "", 0, "benchmark.mask"))
    tokens = Subset.of(mask).in_every_slot(SLOTS, POSITIONS).items
    slots = tokens.reshape(SAMPLES, SLOTS, HIDDEN)
    tube = (slots % POSITIONS == slots[:, :1] % POSITIONS).all()
    counts = mask.sum(dim=1)
    return [
        Row(f"hidden of {POSITIONS}, fewest", int(counts.min()), bar=Bar("exactly", HIDDEN)),
        Row(f"hidden of {POSITIONS}, most", int(counts.max()), bar=Bar("exactly", HIDDEN)),
        Row(f"slots of {SLOTS} with the same mask", SLOTS * int(tube), bar=Bar("exactly", SLOTS)),
        Row(
            f"hidden tokens of {SLOTS * POSITIONS}",
            tokens.shape[1],
            bar=Bar("exactly", SLOTS * HIDDEN),
        ),
        Row(
            "positions that differ, samples 1 and 2",
            int((mask[0] != mask[1]).sum()),
            bar=Bar("at least", 1),
        ),
        Row(f"different masks of {SAMPLES}", len(mask.unique(dim=0)), bar=Bar("exactly", SAMPLES)),
    ]


if __name__ == "__main__":
    options = parser("What the tube mask hides at 85 %").parse_args()
    finish(measure(), options.json)
