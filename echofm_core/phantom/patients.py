"""Institutions of phantom patients: who comes, how they lie, and what was planted wrong."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from echofm_core.phantom.anatomy import Pose, View
from echofm_core.phantom.heart import Heart, draw_heart
from echofm_core.phantom.scanners import Scanner
from echofm_core.phantom.ultrasound import Clip, render
from echofm_core.randomness import stream


@dataclass(slots=True)
class Institution:
    """What a writer needs: random streams, and the books it keeps.

    Attributes:
        name: Data set name.
        seed: Of the phantom.
        truth: One row a clip: what it was drawn from.
        planted: (kind, item) of every error that was written on purpose.
    """

    name: str
    seed: int
    truth: list[dict[str, object]] = field(default_factory=list)
    planted: list[dict[str, object]] = field(default_factory=list)

    def rng(self, patient: int, purpose: str) -> np.random.Generator:
        """Stream of one patient; adding a patient changes no other."""
        return stream(self.seed, self.name, patient, f"phantom.{purpose}")

    def plant(self, kind: str, item: str) -> None:
        """Note an error that is written on purpose."""
        self.planted.append({"kind": kind, "item": item})

    def close(self, root: Path) -> Path:
        """Write ``<root>.truth.csv`` and ``<root>.planted.csv`` beside the data; returns root."""
        write_table(root.with_name(f"{root.name}.truth.csv"), self.truth)
        write_table(root.with_name(f"{root.name}.planted.csv"), self.planted, ("kind", "item"))
        return root


def examine(
    heart: Heart,
    view: View,
    scanner: Scanner,
    frames: int,
    rng: np.random.Generator,
    *,
    half_cycle: bool = False,
) -> tuple[Clip, Pose]:
    """Record a cine of a heart in a view, with the pose and start that chance gives.

    Args:
        heart: Whose.
        view: From where.
        scanner: With which machine.
        frames: Length; ignored for a half cycle.
        rng: Source of chance.
        half_cycle: From end-diastole to end-systole only, as CAMUS has them.
    """
    pose = _pose(view, rng)
    if half_cycle:
        systole = 0.36 * 60 / heart.rate
        phases = np.linspace(0, 0.36, max(10, round(systole * scanner.fps) + 1))
    else:
        seconds = np.arange(frames) / scanner.fps
        phases = heart.phase(seconds, float(rng.uniform()))
    return render(heart, view, pose, scanner, phases, rng), pose


def new_heart(rng: np.random.Generator, ef_mean: float, ef_sd: float, as_grade: int = 0) -> Heart:
    """See :func:`echofm_core.phantom.heart.draw_heart`."""
    return draw_heart(rng, ef_mean, ef_sd, as_grade)


def _pose(view: View, rng: np.random.Generator) -> Pose:
    if view in (View.A4C, View.A2C):
        turn, x = rng.normal(0.08, 0.06), rng.normal(0.6 if view is View.A4C else 0.2, 0.25)
        return Pose(turn=float(turn), x=float(x), z=float(rng.normal(2.2, 0.2)))
    return Pose(
        turn=float(rng.normal(0, 0.06)),
        x=float(rng.normal(0, 0.25)),
        z=float(rng.normal(0.3, 0.15)),
    )


def write_table(
    path: Path, rows: Iterable[Mapping[str, object]], columns: Iterable[str] = ()
) -> None:
    """Write rows as CSV; the columns are those given, else the first row's."""
    rows = list(rows)
    names = list(columns) or (list(rows[0]) if rows else [])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
