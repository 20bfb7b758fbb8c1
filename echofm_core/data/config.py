"""What a model sees of a clip: resolution, frames, duration."""

from __future__ import annotations

from pydantic import Field

from echofm_core.section import Section


class DataConfig(Section):
    """The ``[data]`` table of a plan."""

    size: int = Field(default=112, ge=32, le=512, multiple_of=8)
    """Height and width of stored and fed frames, in pixels."""
    frames: int = Field(default=16, ge=2, le=128, multiple_of=2)
    """Frames T of a window."""
    window_seconds: float = Field(default=1.3, ge=0)
    """Duration that a window spans, in seconds (about a beat); 0 means the whole clip."""
    test_windows: int = Field(default=3, ge=1, le=64)
    """At most this many windows cover a clip at test time; predictions are their mean."""
    min_clip_frames: int = Field(default=8, ge=1)
    """Cines with fewer frames are quarantined (stills are not cines)."""
