"""What the doctor found, as data: the page, the terminal and the JSON file say the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Diagnosis:
    """What a careful colleague found in data folders.

    Attributes:
        manifest: One row a usable clip, as the readers gave it.
        findings: dataset, kind, item, reason, severity; one row a thing that is wrong, by data set
            and in the order met.
        decoded: One row a clip that was decoded, by clip id: ``frames`` (int), ``fps`` (Hz),
            ``seconds``, ``height`` and ``width`` (pixels of the source), ``sector`` (share of the
            frame, 0 to 1), ``grey`` (mean level in the sector, 0 to 255); float, NaN where unknown.
        thumbnails: Clip id -> ``(S, S)`` uint8, the middle frame, zero outside the sector.
        synthetic: Phantoms are among the data: every page and picture says so.
        public: Data sets whose ids are public pseudonyms, fit to be shown.
        places: Path of what findings call by a hash; never leaves the institution.
    """

    manifest: pd.DataFrame
    findings: pd.DataFrame
    decoded: pd.DataFrame
    thumbnails: Mapping[str, NDArray[np.uint8]]
    synthetic: bool
    public: frozenset[str]
    places: Mapping[str, str] = field(default_factory=dict)
