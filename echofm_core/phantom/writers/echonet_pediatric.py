"""EchoNet-Pediatric as downloaded: two views of children, nested folders, tracings of points."""

from dataclasses import replace

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


def write(site: Institution) -> None:
    """Write ``pediatric_echo_avi/pediatric_echo_avi``."""
    files: Tables = {view: [] for view in VIEWS}
    tracings: Tables = {view: [] for view in VIEWS}
    for view in VIEWS:
        (site.root / view / "Videos").mkdir(parents=True)
    for patient, rng in site.each():
        heart = draw_heart(rng, EF_MEAN, EF_SD)
        for number, (view, drawn) in enumerate(VIEWS.items()):
            exam = examine(heart, drawn, SCANNER, int(SCANNER.fps * rng.uniform(1.0, 1.4)), rng)
            name = f"CR32a{patient:04d}-CR32a{7000 + patient:04d}-{number:06d}.avi"
            files[view].append(_add(site, view, name, exam, patient))
            tracings[view] += [  # a triangle in two frames: readers only count
                as_row(("FileName", "X", "Y", "Frame"), name, *point, frame)
                for frame in (3, 20)
                for point in ((50, 30), (40, 80), (65, 82))
            ]
    if site.errors:
        _plant(site, files, tracings)
    for view in VIEWS:
        write_table(site.root / view / "FileList.csv", files[view])
        write_table(site.root / view / "VolumeTracings.csv", tracings[view])


def _add(site: Institution, view: str, name: str, exam: Exam, patient: int) -> Row:
    """Write a video and its truth; returns its row."""
    write_avi(site.root / view / "Videos" / name, exam.clip.frames, exam.scanner.fps)
    site.truth.append(exam.truth(f"{view}_{name.removesuffix('.avi')}"))
    age = patient % 18
    sizes = (10 + 3 * age, 80 + 5 * age)
    return as_row(FILES, name, exam.heart.ef, "FM"[patient % 2], age, *sizes, patient % FOLDS)


def _plant(site: Institution, files: Tables, tracings: Tables) -> None:
    """A child in two folds, a frame that is a word, and files that are amiss."""
    template = dict(files["A4C"][0])
    tracings["A4C"][0]["Frame"] = "No Systolic"
    site.plant("tracing_without_frame", f"A4C/Videos/{template['FileName']}")
    files["PSAX"][0]["Split"] = 5
    site.plant("patient_in_two_splits", str(template["FileName"]).partition("-")[0])
    for number, kind in enumerate(("missing_file", "undecodable", "unknown_split")):
        name = f"CR99a{number:04d}-CR99a0000-000000.avi"
        item, split, video = f"A4C/Videos/{name}", "4", site.root / "A4C/Videos" / name
        if kind == "undecodable":
            video.write_bytes(NO_VIDEO)
        elif kind == "unknown_split":
            item, split, rng = f"A4C/FileList.csv:{len(files['A4C'])}", "x", site.rng(0, "planted")
            exam = examine(draw_heart(rng, EF_MEAN, EF_SD), View.A4C, SCANNER, 60, rng)
            write_avi(video, exam.clip.frames, SCANNER.fps)
        site.plant(kind, item)
        files["A4C"].append({**template, "FileName": name, "Split": split})
