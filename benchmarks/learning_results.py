"""Figures of the learning benchmark by draw, paired differences and intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from scipy import stats

from benchmarks.learning_clock import cost_of
from benchmarks.learning_pieces import Piece, Pretraining, Ridge, Scores, Where
from benchmarks.learning_places import RESULT, place_of
from benchmarks.learning_recipe import Recipe
from benchmarks.learning_scores import TOGETHER

#: Coverage of an interval.
COVERAGE = 0.95
#: Metric of what a pre-training took, CPU seconds; its arm is the piece's name.
SECONDS = "cpu_seconds"
COLUMNS = ("draw", "arm", "where", "hospital", "truth", "metric", "value", "patients", "key")


@dataclass(frozen=True, slots=True)
class Interval:
    """Mean over draws, and its confidence interval; NaN ends of fewer than two draws."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """Student's t interval; NaN of no value."""
    if len(values) < 2:
        return Interval(values[0] if values else math.nan, math.nan, math.nan)
    mean = sum(values) / len(values)
    half = float(stats.t.ppf((1 + COVERAGE) / 2, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


class Results:
    """Scores of all arms.

    Args:
        table: :data:`COLUMNS`, a row a figure.

    Attributes:
        arms: Names, in the order of the table.
        draws: How many there are.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        scores = table[table["metric"] != SECONDS]
        self.arms = list(dict.fromkeys(scores["arm"]))
        self.draws = int(scores["draw"].nunique())

    def values(
        self,
        arm: str,
        metric: str = "r2",
        *,
        where: str = Where.HELD_OUT,
        hospital: str = TOGETHER,
        truth: str = "exact",
    ) -> dict[int, float]:
        """Draw -> value, of an arm that may have none."""
        rows = self.table[
            (self.table["arm"] == arm)
            & (self.table["metric"] == metric)
            & (self.table["where"] == where)
            & (self.table["hospital"] == hospital)
            & (self.table["truth"] == truth)
        ].sort_values("draw")
        return dict(zip(rows["draw"].astype(int), rows["value"].astype(float), strict=True))

    def seconds(self, start: str) -> list[float]:
        """CPU seconds of a pre-training, one a draw."""
        name = f"pretraining-{start}"
        return list(self.values(name, SECONDS, where="", hospital="", truth="").values())

    def differences(self, arm: str, other: str, where: str = Where.HELD_OUT) -> list[float]:
        """EF R2 of an arm less another's, one for each draw that both have."""
        ours, theirs = self.values(arm, where=where), self.values(other, where=where)
        return [value - theirs[draw] for draw, value in ours.items() if draw in theirs]


def collect(pieces: Sequence[Piece], recipe: Recipe, folder: Path) -> pd.DataFrame:
    """The table of finished pieces."""
    rows = []
    for piece in pieces:
        place = place_of(piece, recipe, folder)
        if isinstance(piece, Scores | Ridge):
            found = json.loads((place / RESULT).read_text(encoding="utf-8"))
            head = {"draw": piece.draw, "arm": piece.arm, "where": piece.where.value}
            rows += [{**head, **row, "key": found["key"][:12]} for row in found["rows"]]
        elif isinstance(piece, Pretraining):
            found = json.loads((place / RESULT).read_text(encoding="utf-8"))
            head = {"draw": piece.draw, "arm": piece.name, "where": ""}
            value = {"metric": SECONDS, "value": cost_of(place).cpu, "patients": 0}
            rows.append({**head, "hospital": "", "truth": "", **value, "key": found["key"][:12]})
    return pd.DataFrame(rows, columns=list(COLUMNS))
