"""Which frames of a clip a window takes: arithmetic only, no pixels."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Span, in seconds, that is written where neither the clip nor the plan knows one.
NOMINAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Pick:
    """Chosen frames: ``indices (T,)`` int64 into the clip, ``times (T,)`` float32 seconds."""

    indices: NDArray[np.int64]
    times: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """Windows over one clip.

    Attributes:
        length: Frames of the clip, at least 1.
        fps: Frames a second, None where unknown: then a window is the whole clip.
        frames: Frames T of a window.
        seconds: Duration of a window; 0 means the whole clip.
        times: ``(length,)`` float64, seconds from the first frame, where frames come at uneven
            times; ``fps`` is then their mean rate. None: they are even.
    """

    length: int
    fps: float | None
    frames: int
    seconds: float
    times: NDArray[np.float64] | None = None

    @property
    def whole(self) -> bool:
        """Does every window span the whole clip?"""
        return self.fps is None or self.seconds == 0

    @property
    def span(self) -> float:
        """Frame intervals between the first and the last frame of a window, not rounded."""
        if self.fps is None or self.seconds == 0:
            return float(self.length - 1)
        return self.seconds * self.fps

    @property
    def mirrored(self) -> bool:
        """Does the clip hold less than a window, so that it is mirrored in time?"""
        return not self.whole and round(self.span) > self.length - 1

    def draw(self, rng: np.random.Generator) -> Pick:
        """A random window.

        Where a window is shorter than the clip, its start is uniform; where the clip is mirrored,
        the phase is; where a window spans the clip, one frame is drawn from each of T equal
        stretches (temporal segments, Wang 2016).
        """
        if self.whole:
            stretches = np.arange(self.frames) + rng.random(self.frames)
            return self._spread(np.floor(stretches * self.length / self.frames).astype(np.int64))
        if self.mirrored:
            return self._from(float(rng.integers(max(1, 2 * (self.length - 1)))))
        return self._from(rng.uniform(0, max(0.0, self.length - 1 - self.span)))

    def cover(self, most: int) -> list[Pick]:
        """As few windows as cover the clip, at most ``most``, evenly placed."""
        if self.whole:
            return [self._spread(_nearest(np.linspace(0, self.length - 1, self.frames)))]
        if self.mirrored:
            return [self._from(0.0)]
        slack = max(0.0, self.length - 1 - self.span)
        count = min(most, math.ceil((self.length - 1) / self.span)) if self.span > 0 else 1
        starts = np.linspace(0, slack, count) if count > 1 else [slack / 2]
        return [self._from(float(start)) for start in starts]

    def _from(self, start: float) -> Pick:
        """Nearest frames at T even times from ``start`` (frame units, may pass the end)."""
        assert self.fps is not None
        wanted = start + np.linspace(0, self.span, self.frames)
        if self.times is not None:
            return self._at_times(wanted / self.fps, self.times)
        steps = _nearest(wanted)
        times = ((steps - steps[0]) / self.fps).astype(np.float32)
        if not self.mirrored:
            steps = np.minimum(steps, self.length - 1)
        return Pick(_reflect(steps, self.length), times)

    def _at_times(self, wanted: NDArray[np.float64], times: NDArray[np.float64]) -> Pick:
        """Nearest frames at times in seconds, which may pass the end: the clip is then mirrored."""
        last = float(times[-1])
        turns, within = np.divmod(wanted, last)
        back = turns % 2 == 1
        indices = _nearest_of(times, np.where(back, last - within, within))
        shown = turns * last + np.where(back, last - times[indices], times[indices])
        return Pick(indices, (shown - shown[0]).astype(np.float32))

    def _spread(self, indices: NDArray[np.int64]) -> Pick:
        """Times of frames that span the clip: true where the frame rate is known, else scaled."""
        if self.times is not None:
            return Pick(indices, (self.times[indices] - self.times[indices[0]]).astype(np.float32))
        elapsed = indices - indices[0]
        if self.fps is not None:
            return Pick(indices, (elapsed / self.fps).astype(np.float32))
        scale = (self.seconds or NOMINAL_SECONDS) / max(1, self.length - 1)
        return Pick(indices, (elapsed * scale).astype(np.float32))


def _nearest(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round half up: numpy's half-to-even would give uneven steps."""
    return np.floor(positions + 0.5).astype(np.int64)


def _nearest_of(times: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of rising times, the indices of those nearest to the wanted ones; of two, the later."""
    after = np.searchsorted(times, wanted).clip(1, len(times) - 1)
    before = wanted - times[after - 1] < times[after] - wanted
    return np.asarray(after - before, np.int64)


def _reflect(steps: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Mirror steps into 0 .. length-1; the turning frames are not repeated."""
    if length == 1:
        return np.zeros_like(steps)
    period = 2 * (length - 1)
    phase = steps % period
    return np.minimum(phase, period - phase)
