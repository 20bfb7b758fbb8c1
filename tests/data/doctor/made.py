"""A diagnosis made by hand: two data sets with clips, one private, and one that is all trouble."""

from dataclasses import replace

import numpy as np
import pandas as pd

from echofm_core.data.doctor.examine import Diagnosis
from echofm_core.data.manifest import manifest_from_rows

#: What nobody may see of the private data set.
PRIVATE = ("mrs-smith", "visit-77", "north-clip", "/archive/smith")

#: File names that want to be more than names.
SCRIPT = "Videos/<script>alert(1)</script>.avi"
COLOUR = "Videos/\x1b[31mred[/bold][red]\u202e.avi"
FORMULA = "=HYPERLINK(0)"


def clip(dataset: str, number: int, patient: str, **columns: object) -> dict[str, object]:
    clip_id = f"{dataset}-clip-{number}"
    return {
        "dataset": dataset, "clip_id": clip_id, "patient_id": patient, "study_id": patient,
        "path": f"/data/{clip_id}.avi", "n_frames": 90, **columns,
    }  # fmt: skip


MANIFEST = manifest_from_rows(
    [
        clip("camus", 1, "p1", view="A4C", split="train", ef=40, edv=100, esv=60, fps=50, sex="F"),
        clip("camus", 2, "p1", view="A2C", split="train", ef=40, fps=50, sex="F", height=600),
        clip("camus", 3, "p2", view="A4C", split="test", ef=60, fps=50, sex="M", vendor="GE"),
        clip("camus", 4, "p3", view="A4C", split="val", vendor="GE", model="Vivid"),
        clip("north", 1, "mrs-smith", vendor="<b>Acme</b>\x1b[2J", as_grade=4, fps=29.97)
        | {"clip_id": "north-clip-1", "study_id": "visit-77", "path": "/archive/smith/1.dcm"},
        clip("north", 2, "mrs-smith", quality="poor", as_grade=0, fps=30)
        | {"clip_id": "north-clip-2", "study_id": "visit-78", "path": "/archive/smith/2.dcm"},
        clip("north", 3, "p2", fps=25)
        | {"clip_id": "north-clip-3", "study_id": "visit-79", "path": "/archive/smith/3.dcm"},
    ]
)

DECODED = pd.DataFrame(
    {
        "clip_id": ["camus-clip-1", "camus-clip-2", "camus-clip-4", "north-clip-1"],
        "frames": [100, 90, 80, 60],
        "fps": [25.0, np.nan, 40.0, np.nan],
        "seconds": [2.0, np.nan, np.nan, np.nan],
        "height": [480, 480, 480, 480],
        "width": [640, 640, 640, 640],
        "sector": [0.5, 0.6, 0.7, 0.4],
        "grey": [10.0, 20.0, 60.0, 30.0],
    }
).set_index("clip_id")

FINDINGS = pd.DataFrame(
    [
        ("camus", "truncated_video", SCRIPT, "The file ends in frame 3.", "quarantined"),
        ("camus", "truncated_video", COLOUR, "The file ends in frame 9.", "quarantined"),
        ("camus", "odd_size", "Videos/a.avi", "It is resized.", "repaired"),
        ("lost", "missing_file", FORMULA, "Listed, not there.", "quarantined"),
        ("north", "odd_size", "north-5f3a", "It is resized.", "repaired"),
        ("north", "label_in_name", "north-77ab", "The name tells the label.", "noted"),
    ],
    columns=["dataset", "kind", "item", "reason", "severity"],
    dtype="string",
)


def thumbnails(levels: dict[str, int]) -> dict[str, np.ndarray]:
    """Frames of one grey level each."""
    return {clip_id: np.full((112, 112), grey, np.uint8) for clip_id, grey in levels.items()}


def made(**changes: object) -> Diagnosis:
    """The diagnosis, with fields changed."""
    whole = Diagnosis(
        manifest=MANIFEST,
        findings=FINDINGS,
        decoded=DECODED,
        thumbnails=thumbnails({clip_id: 60 + 40 * n for n, clip_id in enumerate(DECODED.index)}),
        synthetic=False,
        public=frozenset({"camus", "lost"}),
    )
    return replace(whole, **changes)


def nothing() -> Diagnosis:
    """Not a clip, not a finding."""
    return made(
        manifest=MANIFEST.head(0), findings=FINDINGS.head(0), decoded=DECODED.head(0), thumbnails={}
    )
