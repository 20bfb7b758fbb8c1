"""Figures of the learning benchmark by draw, paired differences and intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from scipy import stats

from benchmarks.learning_clock import Cost, cost_of
from benchmarks.learning_pieces import Piece, Ridge, Scored, Scores, Where
from benchmarks.learning_places import RESULT, finished, key, place_of
from benchmarks.learning_recipe import Recipe
from benchmarks.learning_scores import TOGETHER

#: Coverage of an interval.
COVERAGE = 0.95
#: Metrics of what a piece took, of CPU and by the clock; its arm is the piece's name.
CPU, WALL = "cpu_seconds", "wall_seconds"
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
        scores = table[~table["metric"].isin((CPU, WALL))]
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
        return list(self.values(name, CPU, where="", hospital="", truth="").values())

    def cost(self) -> Cost:
        """Of all pieces, each done once."""
        cpu, wall = (self.table["value"][self.table["metric"] == name] for name in (CPU, WALL))
        return Cost(cpu=float(cpu.sum()), wall=float(wall.sum()))

    def differences(self, arm: str, other: str, where: str = Where.HELD_OUT) -> list[float]:
        """EF R2 of an arm less another's, one for each draw that both have."""
        ours, theirs = self.values(arm, where=where), self.values(other, where=where)
        return [value - theirs[draw] for draw, value in ours.items() if draw in theirs]


def collect(
    pieces: Sequence[Piece], recipe: Recipe, folder: Path, before: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The table of the pieces that are finished, in a folder or in an earlier table."""
    rows: list[dict[str, object]] = []
    earlier = {} if before is None else dict(tuple(before.groupby("key")))
    for piece in pieces:
        if finished(piece, recipe, folder):
            rows += _rows_of(piece, recipe, folder)
        elif (found := earlier.get(_short(piece, recipe))) is not None:
            rows += found.to_dict("records")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def left(wanted: Sequence[Scored], recipe: Recipe, table: pd.DataFrame) -> list[Scored]:
    """What has no score in a table yet."""
    done = set(table["key"])
    return [piece for piece in wanted if _short(piece, recipe) not in done]


def _rows_of(piece: Piece, recipe: Recipe, folder: Path) -> list[dict[str, object]]:
    """Scores of a piece, and what it cost."""
    place, short = place_of(piece, recipe, folder), _short(piece, recipe)
    cost = cost_of(place)
    head = {"draw": piece.draw, "arm": piece.name, "where": "", "hospital": "", "truth": ""}
    costs = [
        {**head, "metric": metric, "value": value, "patients": 0, "key": short}
        for metric, value in ((CPU, cost.cpu), (WALL, cost.wall))
    ]
    if not isinstance(piece, Scores | Ridge):
        return costs
    scores = json.loads((place / RESULT).read_text(encoding="utf-8"))["rows"]
    head = {"draw": piece.draw, "arm": piece.arm, "where": piece.where.value, "key": short}
    return [*({**head, **row} for row in scores), *costs]


def _short(piece: Piece, recipe: Recipe) -> str:
    return key(piece, recipe)[:12]
