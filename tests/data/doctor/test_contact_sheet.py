"""Which clips are drawn, to the pixel; no id reaches a picture."""

import numpy as np
import pandas as pd
import pytest
from PIL import ImageFont

from echofm_core.data.doctor.contact_sheet import (
    CREAM,
    GAP,
    MARGIN,
    PAPER,
    ROW,
    SIDE,
    STAMP,
    TITLE,
    WIDTH,
    caption,
    choose,
    clip_table,
    draw,
)
from tests.data.doctor.made import DECODED, MANIFEST, made, nothing, thumbnails


def rows_of(views: list[str | None], vendors: list[str | None] | None = None) -> pd.DataFrame:
    ids = [f"c{n:02d}" for n in range(len(views))]
    return pd.DataFrame(
        {"clip_id": ids, "view": views, "vendor": vendors or [None] * len(views)}, dtype="string"
    )


def test_clips_are_spread_over_views_then_evenly() -> None:
    """1 A2C, 12 A4C and 2 unknown: dealt in turn, six are 1, 3 and 2. Of c00 to c11 three evenly:
    the first, the sixth (5.5, to even), the last."""
    rows = rows_of(["A4C"] * 12 + ["A2C"] + [None] * 2)
    assert choose(rows, 6) == ["c12", "c00", "c06", "c11", "c13", "c14"]


def test_clips_are_spread_over_vendors_within_a_view() -> None:
    rows = rows_of(["A4C"] * 12, ["X"] * 10 + ["Y"] * 2)
    assert choose(rows, 4) == ["c00", "c09", "c10", "c11"]


def test_choice_does_not_depend_on_the_order_of_rows() -> None:
    rows = rows_of(["A4C", "A2C", None] * 9, ["X", "Y", "Z"] * 9)
    assert choose(rows.sample(frac=1, random_state=0), 10) == choose(rows, 10)


def test_more_vendors_than_places() -> None:
    rows = rows_of(["A4C"] * 30, [f"V{n:02d}" for n in range(30)])
    assert choose(rows, 3) == ["c00", "c14", "c29"]


def test_captions_by_hand() -> None:
    table = clip_table(made()).set_index("clip_id")
    assert caption(table.loc["camus-clip-1"]) == ["A4C", "EF 40 %", "100 frames, 50 Hz"]
    assert caption(table.loc["camus-clip-4"]) == ["A4C", "80 frames, 40 Hz"]
    assert caption(table.loc["north-clip-1"]) == ["view unknown", "AS severe", "60 frames, 30 Hz"]
    bare = pd.Series(
        {"view": None, "ef": np.nan, "as_grade": pd.NA, "as_class": pd.NA, "frames": 9,
         "fps": np.nan}
    )  # fmt: skip
    assert caption(bare) == ["view unknown", "9 frames"]
    bare["as_class"] = 1
    assert caption(bare) == ["view unknown", "AS early", "9 frames"]


@pytest.mark.parametrize("words", ["AS mild to moderate", "1002 frames, 138 Hz", "view unknown"])
def test_captions_fit_below_their_frame(words: str) -> None:
    assert ImageFont.load_default(19).getlength(words) < SIDE + GAP


def test_frames_are_drawn_side_by_side() -> None:
    """camus: three thumbnails, A2C (clip 2) first, then A4C by vendor: GE (clip 4), none (clip 1);
    their grey levels are 100, 140 and 60. north: clip 1, 180."""
    sheet = np.asarray(draw(made()))
    assert sheet.shape == (MARGIN + 2 * ROW + MARGIN // 2, WIDTH, 3)
    middle = [MARGIN + place * (SIDE + GAP) + SIDE // 2 for place in range(4)]
    top = MARGIN + TITLE + SIDE // 2
    assert sheet[top, middle].tolist() == [[g] * 3 for g in (100, 140, 60, 255)]
    assert sheet[top + ROW, middle].tolist() == [[g] * 3 for g in (180, 255, 255, 255)]


def test_synthetic_is_stamped_on_the_sheet_and_on_each_row() -> None:
    real, stamped = np.asarray(draw(made())), np.asarray(draw(made(synthetic=True)))
    assert tuple(real[2, 2]) == PAPER and tuple(stamped[2, 2]) == CREAM
    for row in range(2):
        head = slice(row * ROW + MARGIN + 4, row * ROW + MARGIN + TITLE)
        corner = np.s_[:, WIDTH - MARGIN - 140 :]
        below = slice(head.start + STAMP, head.stop + STAMP)
        assert (real[head][corner] == 255).all() and (stamped[below][corner] < 200).any()


def test_no_id_and_no_path_reaches_the_picture() -> None:
    """Other ids and paths, public and private, of the same order: the same picture."""
    renamed = MANIFEST.assign(
        clip_id=MANIFEST["clip_id"].str.replace("clip", "other-name"),
        patient_id="someone-" + MANIFEST["patient_id"],
        study_id=MANIFEST["study_id"] + "-else",
        path="/elsewhere" + MANIFEST["path"],
    )
    decoded = DECODED.rename(index=lambda name: name.replace("clip", "other-name"))
    whole = made()
    pictures = {k.replace("clip", "other-name"): v for k, v in whole.thumbnails.items()}
    other = made(manifest=renamed, decoded=decoded, thumbnails=pictures)
    assert draw(other).tobytes() == draw(whole).tobytes()


def test_ten_clips_at_most_and_every_data_set_has_its_row() -> None:
    """Thirty clips of camus fill one row, right to its last place."""
    rows = pd.concat([MANIFEST.head(1)] * 30, ignore_index=True)
    rows["clip_id"] = [f"c{n:02d}" for n in range(30)]
    sheet = draw(made(manifest=rows, thumbnails=thumbnails({f"c{n:02d}": 9 for n in range(30)})))
    assert sheet.size == (WIDTH, MARGIN + ROW + MARGIN // 2)
    last = (MARGIN + 9 * (SIDE + GAP) + SIDE // 2, MARGIN + TITLE + SIDE // 2)
    assert sheet.getpixel(last) == (9, 9, 9)


def test_nothing_to_draw_is_a_sheet_too() -> None:
    assert draw(nothing()).size[0] == WIDTH
