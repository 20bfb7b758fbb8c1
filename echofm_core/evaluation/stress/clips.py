"""Windows of test clips, changed: what a model is given in place of the clips as they are."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from echofm_core.data.config import DataConfig
from echofm_core.data.formats.timeline import NOMINAL_SECONDS, Pick
from echofm_core.data.store.clip_store import ClipStore
from echofm_core.data.windows import ClipWindows, Window
from echofm_core.evaluation.stress.stressors import Setting
from echofm_core.runtime.randomness import stream


@dataclass(slots=True)
class Watch:
    """What happens while the clips of all settings are read.

    Attributes:
        read: Called after each clip.
        unusable: Clip -> why it could not be read or changed, under some setting.
    """

    read: Callable[[], None] = lambda: None
    unusable: dict[str, str] = field(default_factory=dict)


class ChangedClips(ClipWindows):
    """Test windows of clips under one setting, from the frames that a store holds.

    What is random is drawn for each clip by the stressor's name, whatever the strength: of two
    strengths the stronger shadow covers the weaker one, and it loses the same frames and more.

    A clip that cannot be read or changed is noted in ``watch.unusable`` and given as black frames,
    so that the others go on; whoever scores leaves it out, under every setting.

    Args:
        store, manifest, config: As of :class:`~echofm_core.data.windows.ClipWindows`.
        setting: How clips are changed.
        seed: The plan's.
        watch: Of the whole test.

    Raises:
        StoreError: The store holds frames of another size than the plan asks for.
    """

    def __init__(
        self,
        store: ClipStore,
        manifest: pd.DataFrame,
        config: DataConfig,
        setting: Setting,
        seed: int,
        watch: Watch,
    ) -> None:
        super().__init__(store, manifest, config)
        self._config, self._setting, self._seed, self._watch = config, setting, seed, watch

    def test_windows(self, index: int) -> list[Window]:
        """As of the clips as they are, changed."""
        clip = str(self.manifest["clip_id"].iloc[index])
        try:
            return self._changed(index, clip)
        except Exception as error:  # whatever is wrong with one clip, the others are tested
            self._watch.unusable.setdefault(clip, f"{type(error).__name__}: {error}")
            return [self._black()]
        finally:
            self._watch.read()

    def _changed(self, index: int, clip: str) -> list[Window]:
        stressor, strength = self._setting.stressor, self._setting.strength
        site = str(self.manifest["site"].iloc[index])
        rng = stream(self._seed, site, 0, f"stress.{stressor.name}.{clip}")
        timeline, shown = stressor.timing(self.timelines[index], strength, rng)
        picks = (Pick(shown[p.indices], p.times) for p in timeline.cover(self._test_windows))
        return stressor.picture([self.cut(index, pick) for pick in picks], strength, rng)

    def _black(self) -> Window:
        size, frames = self._config.size, self._config.frames
        seconds = self._config.window_seconds or NOMINAL_SECONDS
        return Window(
            np.zeros((frames, size, size), np.uint8),
            np.linspace(0, seconds, frames, dtype=np.float32),
            np.ones((size, size), bool),
        )
