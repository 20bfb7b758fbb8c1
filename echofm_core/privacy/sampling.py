"""Poisson sampling of patients: what the accountant assumes is what happens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class PatientSampler:
    """Draws, for each step, patients independently, and one clip of each.

    A patient with many clips is no more likely to be drawn than one with a single clip, and gives
    one sample: so the clipping norm bounds what a *patient* can change.

    Args:
        clips: Rows that take part, (N,).
        patients: Patient of each row, (N,).
    """

    def __init__(self, clips: Indices, patients: Indices) -> None:
        order = np.argsort(patients, kind="stable")
        starts = np.flatnonzero(np.diff(patients[order], prepend=-1))
        self.clips_of = np.split(clips[order], starts[1:])

    def __len__(self) -> int:
        return len(self.clips_of)

    def draw(self, rate: float, steps: int, rng: np.random.Generator) -> Iterator[Indices]:
        """Rows of each step; a step may be empty.

        Args:
            rate: Probability of each patient in each step.
            steps: Number of steps.
            rng: Source of both choices; secret in a deployment.
        """
        for _ in range(steps):
            drawn = np.flatnonzero(rng.random(len(self)) < rate)
            yield np.array([rng.choice(self.clips_of[patient]) for patient in drawn], np.int64)
