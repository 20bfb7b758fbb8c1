"""EchoNet-Pediatric as downloaded: two views of children, nested folders, tracings of points."""

from dataclasses import replace
from pathlib import Path

from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.patients import Exam, Institution, Row, Rows, as_row, examine, write_table
from echofm_core.phantom.scanners import ECHONET
from echofm_core.phantom.views import View
from echofm_core.phantom.writers.files import NO_VIDEO, write_avi

EF_MEAN, EF_SD = 61.0, 8.0
VIEWS = {"A4C": View.A4C, "PSAX": View.PSAX_LV}
#: Children lie nearer to the probe, and are imaged faster.
SCANNER = replace(ECHONET, depth=13.5, fps=60, gain=3, dynamic_range=56, lateral=1.1)
FOLDS = 10
FILES = ("FileName", "EF", "Sex", "Age", "Weight", "Height", "Split")

Tables = dict[str, Rows]


def write(site: Institution) -> Path:
    """Write ``pediatric_echo_avi/pediatric_echo_avi``; returns the root."""
    root = site.folder / "pediatric_echo_avi" / "pediatric_echo_avi"
    files: Tables = {view: [] for view in VIEWS}
    tracings: Tables = {view: [] for view in VIEWS}
    for view in VIEWS:
        (root / view / "Videos").mkdir(parents=True)
    for patient, rng in site.each():
        heart = draw_heart(rng, EF_MEAN, EF_SD)
        for number, (view, drawn) in enumerate(VIEWS.items()):
            exam = examine(heart, drawn, SCANNER, int(SCANNER.fps * rng.uniform(1.0, 1.4)), rng)
            name = f"CR32a{patient:04d}-CR32a{7000 + patient:04d}-{number:06d}.avi"
            files[view].append(_add(root, site, view, name, exam, patient))
            tracings[view] += [  # a triangle in two frames: readers only count
                as_row(("FileName", "X", "Y", "Frame"), name, *point, frame)
                for frame in (3, 20)
                for point in ((50, 30), (40, 80), (65, 82))
            ]
    if site.errors:
        _plant(root, site, files, tracings)
    for view in VIEWS:
        write_table(root / view / "FileList.csv", files[view])
        write_table(root / view / "VolumeTracings.csv", tracings[view])
    return site.close(root)


def _add(root: Path, site: Institution, view: str, name: str, exam: Exam, patient: int) -> Row:
    """Write a video and its truth; returns its row."""
    write_avi(root / view / "Videos" / name, exam.clip.frames, exam.scanner.fps)
    site.truth.append(exam.truth(f"{view}_{name.removesuffix('.avi')}"))
    age = patient % 18
    sizes = (10 + 3 * age, 80 + 5 * age)
    return as_row(FILES, name, exam.heart.ef, "FM"[patient % 2], age, *sizes, patient % FOLDS)


def _plant(root: Path, site: Institution, files: Tables, tracings: Tables) -> None:
    """A child in two folds, a frame that is a word, and files that are amiss."""
    template = dict(files["A4C"][0])
    tracings["A4C"][0]["Frame"] = "No Systolic"
    site.plant("tracing_without_frame", f"A4C/Videos/{template['FileName']}")
    patient = str(template["FileName"]).partition("-")[0]
    files["PSAX"][0]["Split"] = 5
    site.plant("patient_in_two_splits", patient)
    for number, kind in enumerate(("missing_file", "undecodable", "unknown_split")):
        name = f"CR99a{number:04d}-CR99a0000-000000.avi"
        row = {**template, "FileName": name, "Split": 4}
        if kind == "undecodable":
            (root / "A4C/Videos" / name).write_bytes(NO_VIDEO)
        if kind == "unknown_split":
            row["Split"] = "x"
            rng = site.rng(0, "planted")
            exam = examine(draw_heart(rng, EF_MEAN, EF_SD), View.A4C, SCANNER, 60, rng)
            write_avi(root / "A4C/Videos" / name, exam.clip.frames, SCANNER.fps)
            site.plant(kind, f"A4C/FileList.csv:{len(files['A4C'])}")
        else:
            site.plant(kind, f"A4C/Videos/{name}")
        files["A4C"].append(row)
