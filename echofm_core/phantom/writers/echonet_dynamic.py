"""EchoNet-Dynamic as downloaded: MJPG AVI, FileList.csv and VolumeTracings.csv."""

import shutil
from dataclasses import replace

import numpy as np

from echofm_core.phantom.anatomy import cavity_outline
from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.patients import Exam, Institution, Row, Rows, as_row, examine, write_table
from echofm_core.phantom.scanners import ECHONET, Scanner
from echofm_core.phantom.views import View
from echofm_core.phantom.writers.files import NO_VIDEO, cut_short, write_avi

EF_MEAN, EF_SD = 56.0, 13.0
#: Frames a second: mostly 50, as published.
FRAME_RATES = (50.0, 50.0, 50.0, 50.0, 50.0, 50.0, 50.0, 50.0, 40.0, 60.0)
#: The one video at native size, which has no tracing.
LARGE = "0X234005774F4CB5CD"
#: Discs of one tracing; with the long axis that makes 21 rows a frame.
DISCS = 20
FILES = ("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames",
         "Split")  # fmt: skip
TRACINGS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")


def write(site: Institution) -> None:
    """Write ``EchoNet-Dynamic/``."""
    (site.root / "Videos").mkdir(parents=True)
    files, tracings = Rows(), Rows()
    for patient, rng in site.each():
        name = f"0X{int(rng.integers(2**63)):016X}"
        scanner = replace(ECHONET, fps=FRAME_RATES[int(rng.integers(len(FRAME_RATES)))])
        exam = _record(scanner, rng)
        split = "TEST" if patient % 4 == 3 else ("VAL" if patient % 16 == 5 else "TRAIN")
        files.append(_add_video(site, name, exam, split))
        filling = np.array([moment.filling for moment in exam.clip.moments])
        for frame in (int(filling.argmax()), int(filling.argmin())):
            tracings += _trace(f"{name}.avi", frame, exam)
    if site.errors:
        _plant(site, files, tracings)
    write_table(site.root / "FileList.csv", files)
    write_table(site.root / "VolumeTracings.csv", tracings)


def _record(scanner: Scanner, rng: np.random.Generator) -> Exam:
    """At least one whole beat of a new patient, at the slowest rate and heart."""
    heart = draw_heart(rng, EF_MEAN, EF_SD)
    frames = int(scanner.fps * rng.uniform(1.32, 1.8))
    return examine(heart, View.A4C, scanner, frames, rng)


def _add_video(site: Institution, name: str, exam: Exam, split: str) -> Row:
    """Write a video and its truth; returns its row of FileList.csv."""
    heart, scanner, frames = exam.heart, exam.scanner, exam.clip.frames
    write_avi(site.root / f"Videos/{name}.avi", frames, scanner.fps)
    site.truth.append(exam.truth(name))
    size = (scanner.height, scanner.width, int(scanner.fps), len(frames))
    return as_row(FILES, name, heart.ef, heart.esv, heart.edv, *size, split)


def _trace(name: str, frame: int, exam: Exam) -> Rows:
    """An expert's tracing: the long axis, then discs across it from apex to base, in pixels."""
    now, scanner = exam.clip.moments[frame], exam.scanner
    depth = np.linspace(0, now.length, DISCS + 2, dtype=np.float32)[1:-1]
    half = cavity_outline(now, depth)
    u = np.concatenate([np.zeros(2), -half, half]).astype(np.float32)
    v = np.concatenate([np.array([0, now.length]), depth, depth]).astype(np.float32)
    x, z = exam.pose.to_plane(u, v)
    across, down = scanner.pixels_per_cm
    points = np.stack([x * across + scanner.apex[0], z * down + scanner.apex[1]], axis=1).tolist()
    pairs = [(0, 1), *((2 + disc, 2 + DISCS + disc) for disc in range(DISCS))]
    return [as_row(TRACINGS, name, *points[a], *points[b], frame) for a, b in pairs]


def _plant(site: Institution, files: Rows, tracings: Rows) -> None:
    """A sample of the published set's known errors, and three kinds of damage."""
    videos = site.root / "Videos"
    names = [str(row["FileName"]) for row in files]
    _plant_tracings(site, tracings)
    template = dict(files[0])
    kinds = ("missing_file", "empty_file", "undecodable")
    for kind, name in zip(kinds, (f"0X{0:015X}{letter}" for letter in "ABC"), strict=True):
        files.append({**template, "FileName": name, "Split": "TRAIN"})
        site.plant(kind, f"Videos/{name}.avi")
    (videos / "0X000000000000000B.avi").touch()
    (videos / "0X000000000000000C.avi").write_bytes(NO_VIDEO)
    site.plant("video_without_tracing", "Videos/0X000000000000000C.avi")
    _plant_twins(site, files, template)
    if len(names) > 2:
        video = videos / f"{names[2]}.avi"
        cut_short(video, video.stat().st_size * 2 // 3)
        site.plant("truncated_clip", f"Videos/{names[2]}.avi")
    large = replace(ECHONET, height=768, width=1024, apex=(512, 40), radius=700, fps=30)
    files.append(_add_video(site, LARGE, _record(large, site.rng(0, "large")), "TRAIN"))
    for kind in ("odd_size", "video_without_tracing"):
        site.plant(kind, f"Videos/{LARGE}.avi")


def _plant_twins(site: Institution, files: Rows, template: Row) -> None:
    """The same picture under two names, and an EF that its volumes do not give."""
    again, wrong, videos = "0X000000000000000D", "0X000000000000000E", site.root / "Videos"
    shutil.copyfile(videos / f"{template['FileName']}.avi", videos / f"{again}.avi")
    files.append({**template, "FileName": again, "Split": "TRAIN"})
    row = _add_video(site, wrong, _record(ECHONET, site.rng(0, "wrong")), "TRAIN")
    site.truth.pop()
    files.append({**row, "EF": float(str(row["EF"])) / 2})
    site.plant("duplicate_content", f"Videos/{again}.avi")
    site.plant("ef_disagrees", f"Videos/{wrong}.avi")
    for name in (again, wrong):
        site.plant("video_without_tracing", f"Videos/{name}.avi")


def _plant_tracings(site: Institution, tracings: Rows) -> None:
    """Whole tracings of nobody and of two observers, and a point beside the picture."""
    tracings.append({**tracings[0], "FileName": "0X4F8859C8AB4DA9CB.avi"})
    site.plant("tracing_without_video", "Videos/0X4F8859C8AB4DA9CB.avi")
    twice = tracings[: DISCS + 1]
    tracings += twice
    site.plant("odd_tracing_rows", f"Videos/{twice[0]['FileName']}")
    outside = tracings[2 * (DISCS + 1) if len(tracings) > 4 * (DISCS + 1) else 5]
    outside["X1"] = -4.1
    site.plant("tracing_outside_frame", f"Videos/{outside['FileName']}")
