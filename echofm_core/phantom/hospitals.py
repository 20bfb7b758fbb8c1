"""Synthetic hospitals as distributions: scanners, population, protocol, labels, motion.

A :class:`Hospital` is one row of a table; :data:`HOSPITALS` has those that experiments use by name,
and :func:`draw_hospital` as many more as one asks for. What varies within a real hospital varies
here too: vendors, depth, zoom, angle, gain, operators, rhythm, and the reader of the volumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from rich.table import Table

from echofm_core.phantom.anatomy import Pose
from echofm_core.phantom.heart import Heart, draw_beats
from echofm_core.phantom.motion import USUAL, MotionRange, draw_motion
from echofm_core.phantom.moving import render_moving
from echofm_core.phantom.patients import Exam
from echofm_core.phantom.scanners import Scanner
from echofm_core.phantom.views import View
from echofm_core.runtime.randomness import stream

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hospital:
    """One synthetic hospital. Pairs are ranges, uniform between their ends, unless said.

    Attributes:
        vendors: Machines, each as often as the others.
        ef: Mean and spread of the ejection fraction, percent.
        edv: Typical end-diastolic volume at a normal EF, ml; ``spread`` is log-normal.
        dilated: How much a weak heart is larger, a share for each percent below 50.
        rate: Mean and spread of the heart rate, beats a minute.
        irregular: Share of patients in atrial fibrillation.
        regional: Share of patients with a wall that moves less than the others.
        depth, half_angle: Of the sector, cm and radians: the operator sets them for each patient.
        fps: Frames a second.
        seconds: Length of a recording.
        two_chamber: Share of recordings in A2C; the others are A4C.
        turn: Spread of how the heart lies, radians; ``offset`` in cm.
        gain: Spread of the gain that operators set, dB.
        reader_bias, reader_noise: The reader's volumes over the true ones, and their spread; three
            fifths of it are each tracing's own, and so end in the EF.
        motion: What else moves.
    """

    name: str
    vendors: tuple[Scanner, ...]
    ef: Range = (54.0, 13.0)
    edv: float = 105.0
    spread: float = 0.24
    dilated: float = 0.008
    rate: Range = (72.0, 12.0)
    irregular: float = 0.08
    regional: float = 0.25
    depth: Range = (13.0, 17.0)
    half_angle: Range = (0.6, 0.8)
    fps: Range = (30.0, 60.0)
    seconds: Range = (1.3, 2.2)
    two_chamber: float = 0.0
    turn: float = 0.12
    offset: float = 0.5
    gain: float = 3.0
    reader_bias: float = 1.0
    reader_noise: float = 0.06
    motion: MotionRange = USUAL


def examine_at(hospital: Hospital, rng: np.random.Generator) -> Exam:
    """A recording of a new patient of a hospital."""
    heart, scanner = _patient(hospital, rng), _settings(hospital, rng)
    two = rng.uniform() < hospital.two_chamber
    seconds = np.arange(max(12, round(scanner.fps * rng.uniform(*hospital.seconds)))) / scanner.fps
    unlike = 0.22 if rng.uniform() < hospital.irregular else 0.03
    beats = draw_beats(heart, seconds, unlike, rng)
    motion = draw_motion(hospital.motion, seconds, heart.filling(beats[0]), rng)
    pose = Pose(
        turn=float(rng.normal(0.08, hospital.turn)),
        x=float(rng.normal(0.2 if two else 0.6, hospital.offset)),
        z=float(np.clip(rng.normal(2.2, 0.6 * hospital.offset), 0.8, None)),
    )
    gain, view = float(rng.normal(0, hospital.gain)), View.A2C if two else View.A4C
    clip = render_moving(heart, view, pose, scanner, beats, motion, rng, gain=gain)
    return Exam(heart=heart, view=view, scanner=scanner, pose=pose, gain=gain, clip=clip)


def read_volumes(
    heart: Heart, hospital: Hospital, rng: np.random.Generator
) -> tuple[float, float, float]:
    """EDV and ESV in ml and EF in percent as the hospital's reader has them."""
    both = hospital.reader_bias * float(rng.lognormal(0, 0.8 * hospital.reader_noise))
    edv, esv = (
        volume * both * float(rng.lognormal(0, 0.6 * hospital.reader_noise))
        for volume in (heart.edv, heart.esv)
    )
    esv = min(esv, 0.95 * edv)
    return edv, esv, 100 * (1 - esv / edv)


def _patient(hospital: Hospital, rng: np.random.Generator) -> Heart:
    ef = float(np.clip(rng.normal(*hospital.ef), 12, 78))
    larger = 1 + hospital.dilated * max(0.0, 50 - ef)
    defect = rng.uniform() < hospital.regional
    side = float(rng.choice([-1, 1]) * rng.uniform(0.2, 0.6)) if defect else 0.0
    return Heart(
        edv=float(np.clip(hospital.edv * larger * rng.lognormal(0, hospital.spread), 40, 340)),
        ef=ef,
        rate=float(np.clip(rng.normal(*hospital.rate), 45, 130)),
        slenderness=float(np.clip(rng.normal(1, 0.07), 0.82, 1.18)),
        wall=float(np.clip(rng.normal(0.98, 0.15), 0.65, 1.6)),
        regional=side,
    )


def _settings(hospital: Hospital, rng: np.random.Generator) -> Scanner:
    """A machine of the hospital, as the operator has set it for this patient."""
    machine = hospital.vendors[int(rng.integers(len(hospital.vendors)))]
    x, y = machine.apex
    return replace(
        machine,
        apex=(x + float(rng.normal(0, 0.01 * machine.width)), y),
        depth=float(rng.uniform(*hospital.depth)),
        half_angle=float(rng.uniform(*hospital.half_angle)),
        fps=round(float(rng.uniform(*hospital.fps)), 1),
        dynamic_range=machine.dynamic_range + float(rng.normal(0, 3)),
        gamma=machine.gamma * float(rng.lognormal(0, 0.08)),
    )


def table(hospitals: Sequence[Hospital]) -> Table:
    """What differs between hospitals, a row each."""
    shown = Table("hospital", "machines", "patients", "protocol", "reader", "motion")
    for column in shown.columns[:1]:
        column.no_wrap = True
    for one in hospitals:
        motion = ", ".join(
            f"{item.name} {value:.2g}"
            for item in fields(MotionRange)
            if (value := getattr(one.motion, item.name)) != getattr(USUAL, item.name)
        )
        shown.add_row(
            one.name,
            ", ".join(_maker(machine) for machine in one.vendors),
            "EF {:.0f} ± {:.0f} %, EDV {:.0f} ml, {:.0f}/min".format(*one.ef, one.edv, one.rate[0]),
            "{:.1f}-{:.1f} cm, {:.0f}-{:.0f} frames/s, A2C {:.0%}".format(
                *one.depth, *one.fps, one.two_chamber
            ),
            f"x {one.reader_bias:.2f} ± {one.reader_noise:.0%}",
            motion or "usual",
        )
    return shown


def _maker(machine: Scanner) -> str:
    """The maker's name, with a star where this machine is a little unlike."""
    name = min(MAKERS, key=lambda item: abs(MAKERS[item].gamma - machine.gamma))
    return name if MAKERS[name] == machine else f"{name}*"


#: Makers of machines, by how their pictures look; each hospital has two or three.
FINE = Scanner(
    height=192, width=192, apex=(96, 6), radius=182, depth=16, half_angle=0.7, fps=50, gain=-3,
    dynamic_range=60, gamma=1.65, axial=0.7, lateral=1.0, attenuation=9, haze=0.05, noise=0.004,
    drop_out=0.08, persistence=0.15, side_lobes=0.02, sharpness=0.3, quality=95,
)  # fmt: skip
BRIGHT = replace(
    FINE, gain=1, dynamic_range=48, gamma=1.25, axial=1.0, lateral=1.6, haze=0.09, noise=0.01,
    attenuation=5, persistence=0.3, side_lobes=0.05, sharpness=0.0, quality=85,
)  # fmt: skip
COARSE = replace(
    FINE, gain=-1, dynamic_range=56, gamma=1.5, axial=1.25, lateral=1.9, haze=0.13, noise=0.012,
    attenuation=10, persistence=0.4, side_lobes=0.06, sharpness=0.6, quality=75, drop_out=0.12,
)  # fmt: skip
HARD = replace(
    FINE, gain=0, dynamic_range=42, gamma=1.9, axial=0.8, lateral=1.3, haze=0.05, noise=0.006,
    attenuation=7, persistence=0.05, side_lobes=0.03, sharpness=0.9, quality=90,
)  # fmt: skip
HANDHELD = replace(
    FINE, height=160, width=160, apex=(80, 4), radius=152, gain=-2, dynamic_range=50, gamma=1.35,
    axial=1.3, lateral=2.0, haze=0.13, noise=0.013, attenuation=11, persistence=0.35,
    side_lobes=0.07, quality=60, drop_out=0.12,
)  # fmt: skip
OLD = replace(
    FINE, height=144, width=176, apex=(88, 5), radius=136, gain=0, dynamic_range=45, gamma=1.2,
    axial=1.4, lateral=1.7, haze=0.1, noise=0.012, attenuation=10, persistence=0.3, quality=55,
)  # fmt: skip

MAKERS = {
    "fine": FINE, "bright": BRIGHT, "coarse": COARSE, "hard": HARD, "handheld": HANDHELD,
    "old": OLD,
}  # fmt: skip

#: Hospitals by name: the six that train, and two held out by scanner and population.
HOSPITALS = (
    Hospital(name="northfield", vendors=(FINE, BRIGHT), ef=(57, 11), motion=USUAL),
    Hospital(
        name="harbour", vendors=(BRIGHT, COARSE), ef=(50, 15), edv=115, irregular=0.15,
        depth=(14.0, 18.0), fps=(25, 40), reader_bias=1.06, reader_noise=0.08,
        motion=replace(USUAL, breathing=0.55, slide=0.25),
    ),
    Hospital(
        name="riverside", vendors=(FINE, HARD), ef=(60, 9), edv=95, half_angle=(0.55, 0.72),
        fps=(45, 75), reader_bias=0.95, reader_noise=0.04,
        motion=replace(USUAL, breathing=0.25, slide=0.12, poor=0.005),
    ),
    Hospital(
        name="st_anne", vendors=(COARSE, HARD), ef=(46, 14), edv=125, regional=0.45,
        two_chamber=0.3,
        motion=replace(USUAL, foreshortening=0.07),
    ),
    Hospital(
        name="westgate", vendors=(BRIGHT, HARD, FINE), ef=(55, 13), rate=(82, 14),
        depth=(12.5, 16.5), half_angle=(0.65, 0.85), motion=replace(USUAL, knobs=0.05, gain=0.45),
    ),
    Hospital(
        name="eastern", vendors=(COARSE,), ef=(52, 13), fps=(20, 35), two_chamber=0.2, turn=0.18,
        offset=0.7, reader_noise=0.1, motion=replace(USUAL, shadows=0.55, wall_drop_out=0.21),
    ),
    Hospital(
        name="emergency", vendors=(HANDHELD,), ef=(44, 16), edv=120, rate=(92, 16), irregular=0.2,
        depth=(13.5, 17.5), fps=(18, 32), offset=0.5, turn=0.14, gain=4.0, reader_noise=0.1,
        motion=replace(USUAL, slide=0.35, tilt=0.04, tremor=0.03, poor=0.025),
    ),
    Hospital(
        name="valley", vendors=(OLD,), ef=(59, 12), edv=90, rate=(66, 10), depth=(13.0, 16.5),
        half_angle=(0.5, 0.66), fps=(16, 32), reader_bias=0.92,
        motion=replace(USUAL, breathing=0.6, foreshortening=0.07),
    ),
)  # fmt: skip
#: Held out by scanner and population.
HELD_OUT = ("emergency", "valley")
#: Written where it is named, and opened once, for the figures that are published: no setting of a
#: phantom, a plan or a default is chosen by what it shows. Its machine smooths over time and
#: sharpens in space more than the others', and its patients lie less still.
SEALED = Hospital(
    name="summit",
    vendors=(
        replace(
            FINE, height=176, width=208, apex=(104, 4), radius=168, gain=-1, dynamic_range=66,
            gamma=2.1, axial=0.9, lateral=1.8, haze=0.12, noise=0.008, attenuation=12,
            persistence=0.45, side_lobes=0.07, sharpness=1.0, quality=70, drop_out=0.14,
        ),
    ),
    ef=(50, 14), edv=112, rate=(78, 14), irregular=0.12, regional=0.35, depth=(14.0, 19.0),
    half_angle=(0.58, 0.82), fps=(22, 55), two_chamber=0.1, turn=0.18, offset=0.65,
    reader_bias=1.04, reader_noise=0.08,
    motion=replace(USUAL, breathing=0.5, tilt=0.04, rocking=0.18, sweep=0.018, shadows=0.45),
)  # fmt: skip


def draw_hospital(seed: int, number: int) -> Hospital:
    """One more hospital, from the ranges that the named ones span; another seed, another one."""
    rng = stream(seed, "", number, "phantom.hospital")
    makers = (FINE, BRIGHT, COARSE, HARD)
    chosen = rng.permutation(len(makers))[: int(rng.integers(1, 4))]
    depth, angle, fps = rng.uniform(12.0, 14.5), rng.uniform(0.5, 0.7), rng.uniform(16, 48)
    scale = rng.lognormal(0, 0.3, len(fields(MotionRange)))
    moved = {
        item.name: float(getattr(USUAL, item.name) * share)
        for item, share in zip(fields(MotionRange), scale, strict=True)
    }
    return Hospital(
        name=f"hospital_{number:03d}",
        vendors=tuple(_unlike(makers[int(index)], rng) for index in chosen),
        ef=(float(rng.uniform(44, 61)), float(rng.uniform(9, 16))),
        edv=float(rng.uniform(88, 125)),
        rate=(float(rng.uniform(64, 92)), 12.0),
        irregular=float(rng.uniform(0.02, 0.2)),
        regional=float(rng.uniform(0.1, 0.45)),
        depth=(depth, depth + float(rng.uniform(3, 5))),
        half_angle=(angle, angle + 0.15),
        fps=(fps, fps * 1.6),
        two_chamber=float(rng.choice([0.0, 0.0, 0.2, 0.35])),
        turn=float(rng.uniform(0.08, 0.2)),
        offset=float(rng.uniform(0.35, 0.8)),
        gain=float(rng.uniform(2, 4)),
        reader_bias=float(rng.uniform(0.92, 1.08)),
        reader_noise=float(rng.uniform(0.04, 0.1)),
        motion=MotionRange(**moved),
    )


def _unlike(machine: Scanner, rng: np.random.Generator) -> Scanner:
    """A machine of a maker, and with settings, that are a little unlike the others."""
    varied = {
        name: getattr(machine, name) * float(rng.lognormal(0, 0.35))
        for name in ("axial", "lateral", "haze", "noise", "side_lobes", "attenuation")
    }
    return replace(
        machine,
        gain=machine.gain + float(rng.normal(0, 1.5)),
        persistence=float(np.clip(machine.persistence + rng.normal(0, 0.15), 0, 0.6)),
        sharpness=float(np.clip(machine.sharpness + rng.normal(0, 0.25), 0, 1.2)),
        **varied,
    )
