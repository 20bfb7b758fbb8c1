"""Synthetic changes of which frames of a clip there are: frame rate, dropped frames.

Each takes the timeline of a clip, a strength and the clip's own random generator. It returns the
timeline on which windows are then laid, and which stored frame each of its frames shows: ``(N,)``.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.formats.timeline import Timeline

Shown = NDArray[np.int64]


def slower(timeline: Timeline, factor: float, rng: np.random.Generator) -> tuple[Timeline, Shown]:
    """As recorded with ``factor`` (whole) times fewer frames a second, at least two of a clip."""
    every = max(1, min(int(factor), timeline.length - 1))
    shown = np.arange(0, timeline.length, every)
    return (
        replace(
            timeline,
            length=len(shown),
            fps=None if timeline.fps is None else timeline.fps / every,
            times=None if timeline.times is None else timeline.times[shown],
        ),
        shown,
    )


def dropped(timeline: Timeline, share: float, rng: np.random.Generator) -> tuple[Timeline, Shown]:
    """Each frame but the first is lost with this probability: the one before is shown again."""
    frames = np.arange(timeline.length)
    kept = rng.random(timeline.length) >= share
    return timeline, np.maximum.accumulate(np.where(kept, frames, 0))
