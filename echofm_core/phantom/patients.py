"""Institutions of phantom patients: who comes, how they lie, and what was planted wrong."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from echofm_core.phantom.anatomy import Pose
from echofm_core.phantom.heart import END_SYSTOLE, Heart
from echofm_core.phantom.scanners import Scanner
from echofm_core.phantom.ultrasound import Clip, render
from echofm_core.phantom.views import View
from echofm_core.runtime.console import Meter
from echofm_core.runtime.randomness import stream

#: How much operators differ in the gain that they set, dB.
GAIN_SD = 2.0

Row = dict[str, object]
Rows = list[Row]


@dataclass(slots=True)
class Institution:
    """What a writer is given, and what it records.

    Attributes:
        root: Data root to write.
        patients: How many, at least one.
        errors: Plant errors.
        truth: One row a clip or study: what it was drawn from.
        planted: (kind, item) of every oddity that was written on purpose.
    """

    name: str
    root: Path
    patients: int
    seed: int
    errors: bool
    meter: Meter | None = None
    truth: Rows = field(default_factory=list)
    planted: Rows = field(default_factory=list)

    def each(self) -> Iterator[tuple[int, np.random.Generator]]:
        """Number and stream of each patient in turn; the meter advances when one is written."""
        for patient in range(self.patients):
            yield patient, self.rng(patient, "patient")
            if self.meter:
                self.meter.advance()

    def rng(self, patient: int, purpose: str) -> np.random.Generator:
        """Stream of one patient; adding a patient changes no other."""
        return stream(self.seed, self.name, patient, f"phantom.{purpose}")

    def plant(self, kind: str, item: str) -> None:
        """Note an oddity that is written on purpose."""
        self.planted.append({"kind": kind, "item": item})

    def close(self) -> None:
        """Write ``<root>.truth.csv`` and ``<root>.planted.csv`` beside the data."""
        columns, beside = dict.fromkeys(name for row in self.truth for name in row), self.root.name
        write_table(self.root.with_name(f"{beside}.truth.csv"), self.truth, columns)
        write_table(self.root.with_name(f"{beside}.planted.csv"), self.planted, ("kind", "item"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Exam:
    """One recording, and all that decided it."""

    heart: Heart
    view: View
    scanner: Scanner
    pose: Pose
    gain: float
    clip: Clip

    def truth(self, clip: str) -> Row:
        """Row of the truth file: the heart, the pose and the scanner's knobs."""
        return {
            "clip": clip,
            "real": False,
            "view": self.view.value,
            **_named(self.heart, "ef", "edv", "esv", "as_grade", "rate", "wall"),
            **_named(self.pose, "turn", "x", "z"),
            "frames": len(self.clip.frames),
            **_named(self.scanner, "fps", "depth", "half_angle"),
            "gain": self.scanner.gain + self.gain,
            **_named(self.scanner, "dynamic_range", "lateral", "haze"),
        }


def _named(of: object, *names: str) -> Row:
    return {name: getattr(of, name) for name in names}


def examine(
    heart: Heart,
    view: View,
    scanner: Scanner,
    frames: int,
    rng: np.random.Generator,
    *,
    half_cycle: bool = False,
) -> Exam:
    """Record a cine of a heart, with the pose, the gain and the start that ``rng`` gives.

    Args:
        frames: Length; ignored for a half cycle.
        half_cycle: From end-diastole to end-systole only, as CAMUS has them.
    """
    pose, gain = _pose(view, rng), float(rng.normal(0, GAIN_SD))
    if half_cycle:
        systole = END_SYSTOLE * 60 / heart.rate
        phases = np.linspace(0, END_SYSTOLE, max(10, round(systole * scanner.fps) + 1))
    else:
        phases = heart.phase(np.arange(frames) / scanner.fps, float(rng.uniform()))
    clip = render(heart, view, pose, scanner, phases, rng, gain=gain)
    return Exam(heart=heart, view=view, scanner=scanner, pose=pose, gain=gain, clip=clip)


def _pose(view: View, rng: np.random.Generator) -> Pose:
    if view.apical:
        priors = ((0.08, 0.07), (0.6 if view is View.A4C else 0.2, 0.3), (2.2, 0.25))
    else:
        priors = ((0, 0.06), (0, 0.3), (0.3, 0.2))
    turn, x, z = (float(rng.normal(mean, sd)) for mean, sd in priors)
    return Pose(turn=turn, x=x, z=z)


def is_phantom(place: Path) -> bool:
    """Was this folder or file written by ``echofm phantom write``? It leaves its truth beside."""
    roots = [root for root in (place.absolute(), *place.absolute().parents) if root.name]
    return any(root.with_name(f"{root.name}.truth.csv").exists() for root in roots) or any(
        True for depth in ("", "*/") for _ in place.glob(f"{depth}*.truth.csv")
    )


def as_row(columns: Iterable[str], *values: object) -> Row:
    """A row of a table from the values of its columns, in order."""
    return dict(zip(columns, values, strict=True))


def write_table(path: Path, rows: Rows, columns: Iterable[str] = ()) -> None:
    """Write rows as CSV; the columns are those given, else the first row's."""
    names = list(columns) or (list(rows[0]) if rows else [])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
