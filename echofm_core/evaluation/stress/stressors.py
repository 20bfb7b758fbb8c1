"""Every way in which test clips are changed, each at three strengths, with the reason for them.

The changes are synthetic: they imitate other recordings of the same hearts, and no recording was
made with these settings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from echofm_core.data.formats.timeline import Timeline
from echofm_core.data.windows import Window
from echofm_core.evaluation.stress.pictures import gained, shadowed, speckled, zoomed_out
from echofm_core.evaluation.stress.timing import Shown, dropped, slower

Timing = Callable[[Timeline, float, np.random.Generator], tuple[Timeline, Shown]]
Picture = Callable[[Sequence[Window], float, np.random.Generator], list[Window]]


def same_frames(
    timeline: Timeline, strength: float, rng: np.random.Generator
) -> tuple[Timeline, Shown]:
    """All frames as they are."""
    return timeline, np.arange(timeline.length)


def same_pictures(
    windows: Sequence[Window], strength: float, rng: np.random.Generator
) -> list[Window]:
    """All windows as they are."""
    return list(windows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stressor:
    """One way of changing clips.

    Attributes:
        name: In tables and files.
        words: What is done, for a reader of the table.
        strengths: From weak to strong.
        neutral: The strength that changes nothing.
        form: How a strength is written, with its unit.
        timing, picture: Which frames there are, and what they show.
    """

    name: str
    words: str
    strengths: tuple[float, ...] = ()
    neutral: float = 0.0
    form: str = "{:g}"
    timing: Timing = same_frames
    picture: Picture = same_pictures


#: The clips as they are.
CLEAN = Stressor(name="clean", words="the clips as they are")

STRESSORS = (
    Stressor(
        name="depth",
        words="the heart drawn smaller by this factor, as a deeper setting shows it",
        # Of the 16 cm that show an adult heart from the apex: 17.6, 20 and 24 cm.
        strengths=(1.1, 1.25, 1.5),
        neutral=1.0,
        form="x {:g}",
        picture=zoomed_out,
    ),
    Stressor(
        name="gain up",
        words="grey levels raised as by this much gain, of a range of 60 dB",
        # 3 dB are a step or two of the knob; 12 dB, a fifth of the range, turn black cavities grey.
        strengths=(3.0, 6.0, 12.0),
        form="+{:g} dB",
        picture=gained,
    ),
    Stressor(
        name="gain down",
        words="grey levels lowered likewise",
        strengths=(-3.0, -6.0, -12.0),  # 12 dB leave nothing of what is darker than 51 of 255
        form="{:g} dB",
        picture=gained,
    ),
    Stressor(
        name="shadow",
        words="a black radial sector of this angle over the heart, as behind a rib or lung",
        # Of the 75 to 90 degrees that a cardiac sector has: about an eighth, a quarter, a third.
        strengths=(10.0, 20.0, 30.0),
        form="{:g} degrees",
        picture=shadowed,
    ),
    Stressor(
        name="speckle",
        words="multiplicative noise of this standard deviation, new in each pixel and frame",
        # About half, once and twice the default of MATLAB's imnoise, a variance of 0.05.
        strengths=(0.1, 0.2, 0.4),
        form="SD {:g}",
        picture=speckled,
    ),
    Stressor(
        name="frame rate",
        words="only one frame of so many, the others not recorded",
        # Of 50 Hz, as in EchoNet-Dynamic: 25, 12.5 and 6.3. Then frames are 160 ms apart, and none
        # may be within 80 ms of end-systole.
        strengths=(2.0, 4.0, 8.0),
        neutral=1.0,
        form="1 of {:g}",
        timing=slower,
    ),
    Stressor(
        name="dropped frames",
        words="this share of frames lost at random, the one before shown again",
        # From one in ten to every other frame.
        strengths=(0.1, 0.25, 0.5),
        form="{:.0%}",
        timing=dropped,
    ),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A stressor at one strength."""

    stressor: Stressor
    strength: float

    @property
    def words(self) -> str:
        """The strength with its unit; empty for clips as they are."""
        return self.stressor.form.format(self.strength) if self.stressor.strengths else ""


#: The clips as they are, as a setting.
UNCHANGED = Setting(CLEAN, CLEAN.neutral)


def settings() -> Iterator[Setting]:
    """The clips as they are, then every stressor at every strength."""
    yield UNCHANGED
    for stressor in STRESSORS:
        for strength in stressor.strengths:
            yield Setting(stressor, strength)
