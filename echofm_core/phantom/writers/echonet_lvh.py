"""EchoNet-LVH as downloaded: long-axis videos in batches, several measurements each."""

from dataclasses import replace

import numpy as np

from echofm_core.phantom.heart import Heart, draw_heart
from echofm_core.phantom.patients import Institution, Rows, as_row, examine, write_table
from echofm_core.phantom.scanners import ECHONET
from echofm_core.phantom.views import View
from echofm_core.phantom.writers.files import write_avi

EF_MEAN, EF_SD = 57.0, 11.0
SCANNER = replace(ECHONET, height=160, width=216, apex=(108, 8), radius=146, fps=40, gain=1)
BATCHES, FRAMES = 4, 52
SPLITS = ("train", "train", "train", "test", "train", "val")
COLUMNS = ("HashedFileName", "Calc", "CalcValue", "Frame", "X1", "X2", "Y1", "Y2", "Frames", "FPS",
           "Width", "Height", "split")  # fmt: skip


def write(site: Institution) -> None:
    """Write ``EchoNet-LVH/``."""
    for batch in range(BATCHES):
        (site.root / f"Batch{batch + 1}").mkdir(parents=True)
    rows: Rows = []
    for patient, rng in site.each():
        heart = draw_heart(rng, EF_MEAN, EF_SD)
        exam = examine(heart, View.PLAX, SCANNER, FRAMES, rng)
        name = f"0X{int(rng.integers(2**63)):016X}"
        video = site.root / f"Batch{1 + patient % BATCHES}/{name}.avi"
        write_avi(video, exam.clip.frames, SCANNER.fps)
        site.truth.append(exam.truth(name))
        rows += _rows(name, heart, SPLITS[patient % len(SPLITS)])
    if site.errors:
        _plant(site, rows)
    rows = [{"": number, **row} for number, row in enumerate(rows)]
    write_table(site.root / "MeasurementsList.csv", rows)


def _rows(name: str, heart: Heart, split: str) -> Rows:
    """Septum and posterior wall in diastole, cm, between two points."""
    video = (FRAMES, SCANNER.fps, SCANNER.width, SCANNER.height, split)
    return [
        as_row(COLUMNS, name, calc, heart.wall, 2, 100, 101, top, top + 10, *video)
        for calc, top in (("IVSd", 70), ("LVPWd", 90))
    ]


def _plant(site: Institution, rows: Rows) -> None:
    """One name in two batches, one video in two splits, one that stands still, and no file."""
    rng = site.rng(0, "planted")
    heart = draw_heart(rng, EF_MEAN, EF_SD)

    def record(video: str, *, still: bool = False) -> str:
        frames = examine(heart, View.PLAX, SCANNER, FRAMES, rng).clip.frames
        shown = np.repeat(frames[:1], FRAMES, axis=0) if still else frames
        write_avi(site.root / video, shown, SCANNER.fps)
        return video

    site.plant("duplicate_file", record(f"Batch4/{rows[0]['HashedFileName']}.avi"))
    rows += _rows("0X00000000000000A0", heart, "train")
    site.plant("missing_file", "0X00000000000000A0.avi")
    torn = _rows("0X00000000000000A1", heart, "train")
    torn[1]["split"] = "test"
    rows += torn
    record("Batch1/0X00000000000000A1.avi")
    site.plant("patient_in_two_splits", "0X00000000000000A1")
    rows += _rows("0X00000000000000A2", heart, "train")
    site.plant("frozen_clip", record("Batch2/0X00000000000000A2.avi", still=True))
    site.plant("unlisted_file", record("Batch3/0X00000000000000A3.avi"))
