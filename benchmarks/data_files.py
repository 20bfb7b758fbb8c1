"""What the data benchmark reads: phantom videos, one cine, one large manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from echofm_core.data.manifest import COLUMNS, manifest_from_rows, save_manifest
from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.overlay import burn_in
from echofm_core.phantom.patients import Exam, examine
from echofm_core.phantom.scanners import ECHONET, MIMIC, Scanner
from echofm_core.phantom.views import View
from echofm_core.phantom.writers.dicom import cine_header, save_jpeg
from echofm_core.phantom.writers.files import write_avi
from echofm_core.runtime.randomness import stream

#: Clips of different content; further ones differ by a byte at the end of the file.
DRAWN = 3
#: Height and width of a GE Vivid E95's cines.
CINE = (708, 1016)
#: MIMIC-IV-ECHO's clips and patients.
CLIPS, PATIENTS = 525_000, 60_000


def write_videos(folder: Path, height: int, width: int, frames: int, clips: int) -> pd.DataFrame:
    """Motion-JPEG AVIs as EchoNet-Dynamic has them; their manifest."""
    folder.mkdir(parents=True)
    exams = [_exam(_scaled(ECHONET, height, width), frames, number) for number in range(DRAWN)]
    rows: list[dict[str, object]] = []
    for number in range(clips):
        path = folder / f"{number}.avi"
        write_avi(path, exams[number % DRAWN].clip.frames, ECHONET.fps)
        with path.open("ab") as stream_:
            stream_.write(bytes([number]))
        rows.append(
            {"dataset": "phantom", "patient_id": path.stem, "clip_id": path.stem,
             "path": str(path), "n_frames": frames}
        )  # fmt: skip
    return manifest_from_rows(rows)


def write_cine(path: Path, frames: int) -> None:
    """A JPEG-baseline YBR_FULL_422 cine with the machine's text, bars and ECG in colour."""
    exam = _exam(_scaled(MIMIC[0], *CINE), frames, 0)
    header = cine_header(exam.scanner, 0, frames, exam.heart.rate, "benchmark")
    save_jpeg(path, header, burn_in(exam.clip.frames, exam.clip.phases, exam.scanner, 0))


def write_manifest(path: Path, clips: int) -> None:
    """As many rows as MIMIC-IV-ECHO has: half a data set with official splits, half without."""
    rng = stream(0, "", 0, "benchmark.manifest")
    patients = max(1000, PATIENTS * clips // CLIPS)
    patient = np.sort(rng.integers(0, patients, clips))
    official = patient >= patients // 2
    splits = np.array(["train", "val", "test"], dtype=object)
    names = pd.Series(patient).astype("string")
    table = pd.DataFrame(
        {
            "dataset": np.where(official, "with_split", "without"),
            "patient_id": "p" + names,
            "study_id": "s" + names,
            "clip_id": names + "_" + pd.Series(np.arange(clips)).astype("string"),
            "path": "/archive/files/p" + names + "/" + pd.Series(np.arange(clips)).astype("string"),
            "view": rng.choice(["A4C", "A2C", "PLAX"], clips),
            "split": pd.Series(splits[patient % 3]).where(official),
            "n_frames": 60,
            "fps": 30.0,
            "height": CINE[0],
            "width": CINE[1],
            "vendor": "GE Vingmed Ultrasound",
            "model": "Vivid E95",
            "ef": rng.uniform(15, 75, patients)[patient],
        }
    )
    save_manifest(table.reindex(columns=list(COLUMNS)).astype(COLUMNS), path)


def _scaled(scanner: Scanner, height: int, width: int) -> Scanner:
    """The scanner with a larger picture."""
    scale = height / scanner.height
    return replace(
        scanner,
        height=height,
        width=width,
        apex=(width / 2, scanner.apex[1] * scale),
        radius=scanner.radius * scale * 0.95,
    )


def _exam(scanner: Scanner, frames: int, number: int) -> Exam:
    rng = stream(number, "", 0, "benchmark.exam")
    return examine(draw_heart(rng, 56, 13), View.A4C, scanner, frames, rng)
