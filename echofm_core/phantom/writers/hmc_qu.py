"""HMC-QU as downloaded: irregular names that give the label away, and Excel sheets."""

from dataclasses import replace

import numpy as np

from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.patients import Institution, examine
from echofm_core.phantom.scanners import ECHONET
from echofm_core.phantom.views import View
from echofm_core.phantom.writers.files import NO_VIDEO, write_avi

EF_MEAN, EF_SD = 50.0, 12.0
VIEWS = {"A4C": (View.A4C, "4CH"), "A2C": (View.A2C, "CH2")}
SCANNER = replace(
    ECHONET, height=216, width=320, apex=(160, 8), radius=200, fps=25, gain=-1, haze=0.2,
)  # fmt: skip
FRAMES, SEGMENTS = 34, 6
HEADER = ("ECHO", *(f"SEG{1 + number}" for number in range(SEGMENTS)),
          "LV Wall Ground-truth Segmentation Masks", "One cardiac-cycle frames")  # fmt: skip

Sheet = list[list[object]]


def write(site: Institution) -> None:
    """Write ``HMC-QU/``. Every second patient is infarcted."""
    import openpyxl

    sheets: dict[str, Sheet] = {view: [] for view in VIEWS}
    for view in VIEWS:
        (site.root / view).mkdir(parents=True)
    for patient, rng in site.each():
        heart, infarcted = draw_heart(rng, EF_MEAN, EF_SD), patient % 2 == 1
        # Without planted errors, the letter N says nothing: every third has it.
        marked = not infarcted if site.errors else patient % 3 == 0
        for view, (drawn, word) in VIEWS.items():
            exam = examine(heart, drawn, SCANNER, FRAMES, rng)
            name = f"ES{1 + patient:05d} {'N' if marked else ''}_{word}_1"
            write_avi(site.root / view / f"{name}.avi", exam.clip.frames, SCANNER.fps)
            site.truth.append(exam.truth(f"ES{1 + patient:06d}_{view}_1"))
            sheets[view].append(_row(name, infarcted))
    if site.errors:
        _plant(site, sheets)
    for view, rows in sheets.items():
        book = openpyxl.Workbook()
        for row in ([*HEADER], *rows):
            book.worksheets[0].append(row)
        book.save(site.root / f"{view}.xlsx")


def _row(name: str, infarcted: bool) -> list[object]:
    segments = ["MI" if infarcted and number < 2 else "non-MI" for number in range(SEGMENTS)]
    return [name.replace(" ", ""), *segments, "ü", 1]


def _plant(site: Institution, sheets: dict[str, Sheet]) -> None:
    """Names with the label, a name of nobody, a black video, no video, and no file."""
    if site.patients > 1:
        site.plant("label_in_name", "A4C/, A2C/")
    (site.root / "A4C/export of tuesday.avi").write_bytes(NO_VIDEO)
    site.plant("stray_file", "A4C/export of tuesday.avi")
    for number, kind in enumerate(("blank_clip", "undecodable", "missing_file")):
        name = f"ES0090{1 + number}_4CH_1"
        path = site.root / f"A4C/{name}.avi"
        if kind == "blank_clip":
            black = np.zeros((FRAMES, SCANNER.height, SCANNER.width), np.uint8)
            write_avi(path, black, SCANNER.fps)
        elif kind == "undecodable":
            path.write_bytes(NO_VIDEO)
        site.plant(kind, f"A4C/{name}" + (".avi" if kind != "missing_file" else ""))
        sheets["A4C"].append(_row(name, infarcted=True))
