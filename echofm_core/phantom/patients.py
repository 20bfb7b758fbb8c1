"""Institutions of phantom patients: who comes, how they lie, and what was planted wrong."""

import csv
from collections.abc import Iterable, Iterator, Mapping
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

Rows = list[dict[str, object]]


@dataclass(kw_only=True, slots=True)
class Institution:
    """What a writer is given, and what it records.

    Attributes:
        name: Data set name.
        folder: Where to write.
        patients: How many, at least one.
        seed: Of the phantom.
        errors: Plant errors.
        meter: Advanced by one a patient.
        truth: One row a clip or study: what it was drawn from.
        planted: (kind, item) of every oddity that was written on purpose.
    """

    name: str
    folder: Path
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

    def close(self, root: Path) -> Path:
        """Write ``<root>.truth.csv`` and ``<root>.planted.csv`` beside the data; returns root."""
        columns = dict.fromkeys(name for row in self.truth for name in row)
        write_table(root.with_name(f"{root.name}.truth.csv"), self.truth, columns)
        write_table(root.with_name(f"{root.name}.planted.csv"), self.planted, ("kind", "item"))
        return root


@dataclass(frozen=True, kw_only=True, slots=True)
class Exam:
    """One recording, and all that decided it."""

    heart: Heart
    view: View
    scanner: Scanner
    pose: Pose
    gain: float
    clip: Clip

    def truth(self, clip: str) -> dict[str, object]:
        """Row of the truth file: the heart, the pose and the scanner's knobs."""
        heart, scanner = self.heart, self.scanner
        return {
            "clip": clip,
            "real": False,
            "view": self.view.value,
            "ef": heart.ef,
            "edv": heart.edv,
            "esv": heart.esv,
            "as_grade": heart.as_grade,
            "rate": heart.rate,
            "wall": heart.wall,
            "turn": self.pose.turn,
            "x": self.pose.x,
            "z": self.pose.z,
            "frames": len(self.clip.frames),
            "fps": scanner.fps,
            "depth": scanner.depth,
            "half_angle": scanner.half_angle,
            "gain": scanner.gain + self.gain,
            "dynamic_range": scanner.dynamic_range,
            "lateral": scanner.lateral,
            "haze": scanner.haze,
        }


def examine(
    heart: Heart,
    view: View,
    scanner: Scanner,
    frames: int,
    rng: np.random.Generator,
    *,
    half_cycle: bool = False,
) -> Exam:
    """Record a cine of a heart, with the pose, the gain and the start that chance gives.

    Args:
        heart: Whose.
        view: From where.
        scanner: With which machine.
        frames: Length; ignored for a half cycle.
        rng: Source of chance.
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
        turn, x = rng.normal(0.08, 0.07), rng.normal(0.6 if view is View.A4C else 0.2, 0.3)
        return Pose(turn=float(turn), x=float(x), z=float(rng.normal(2.2, 0.25)))
    return Pose(
        turn=float(rng.normal(0, 0.06)),
        x=float(rng.normal(0, 0.3)),
        z=float(rng.normal(0.3, 0.2)),
    )


def is_phantom(place: Path) -> bool:
    """Was this folder or file written by ``echofm phantom write``? It leaves its truth beside."""
    roots = [root for root in (place.absolute(), *place.absolute().parents) if root.name]
    return any(root.with_name(f"{root.name}.truth.csv").exists() for root in roots) or any(
        True for depth in ("", "*/") for _ in place.glob(f"{depth}*.truth.csv")
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
