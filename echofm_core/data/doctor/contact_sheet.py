"""The contact sheet: what the clips of each data set look like, at a glance."""

from collections.abc import Sequence

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from echofm_core.data.doctor.count import quantities
from echofm_core.data.doctor.examine import Diagnosis
from echofm_core.pages.choice import deal, evenly
from echofm_core.runtime.text import many
from echofm_core.tasks import AS_CLASSES, AS_GRADES

#: Clips of a data set.
CLIPS = 10
#: Pixels: side of a drawn frame, gaps, and the sheet's margin.
SIDE, GAP, MARGIN = 168, 12, 24
#: Pixels: height of the stamp, of a data set's title, of a caption's line, and below a row.
STAMP, TITLE, LINE, BELOW = 52, 46, 24, 18
LINES = 3
PAPER, INK, FAINT, RULE = (255, 255, 255), (31, 41, 51), (82, 96, 109), (221, 227, 234)
AMBER, CREAM = (154, 88, 0), (253, 240, 205)

ROW = TITLE + SIDE + LINES * LINE + BELOW
WIDTH = 2 * MARGIN + CLIPS * (SIDE + GAP) - GAP


def draw(diagnosis: Diagnosis) -> Image.Image:
    """A row a data set: up to ten middle frames, spread over its views, scanners and clips.

    Captions hold view, EF or aortic stenosis grade, frames and frame rate where they are known;
    never an id or a file name, of no data set. Where phantoms are among the data, the sheet and
    each row are stamped.
    """
    rows = clip_table(diagnosis)
    names = sorted(rows["dataset"].unique())
    top = MARGIN + (STAMP if diagnosis.synthetic else 0)
    sheet = Image.new("RGB", (WIDTH, top + max(1, len(names)) * ROW + MARGIN // 2), PAPER)
    if diagnosis.synthetic:
        ImageDraw.Draw(sheet).rectangle([(0, 0), (WIDTH, STAMP)], fill=CREAM)
        _text(sheet, (MARGIN, 10), "SYNTHETIC", 28, AMBER)
        words = "phantoms are among these data; nothing here is about patients"
        _text(sheet, (MARGIN + 190, 17), words, 20, AMBER)
    if not names:
        _text(sheet, (MARGIN, top), "no clip was decoded", 24, FAINT)
    for number, name in enumerate(names):
        _row(sheet, top + number * ROW, name, rows[rows["dataset"] == name], diagnosis)
    return sheet


def clip_table(diagnosis: Diagnosis) -> pd.DataFrame:
    """Clips that have a thumbnail: what captions and the choice of clips need."""
    manifest = diagnosis.manifest.reset_index(drop=True)
    values = quantities(manifest, diagnosis.decoded)
    columns = ["clip_id", "dataset", "view", "vendor", "as_grade", "as_class"]
    rows = manifest[columns].assign(**{name: values[name] for name in ("ef", "frames", "fps")})
    return rows[rows["clip_id"].isin(list(diagnosis.thumbnails))]


def choose(rows: pd.DataFrame, wanted: int, keys: Sequence[str] = ("view", "vendor")) -> list[str]:
    """Clip ids spread over the values of the first key, within each over those of the next.

    Args:
        rows: Clips of one data set.
        wanted: At most this many.
        keys: Columns; a missing value is a value too.
    """
    if not keys:
        every = sorted(map(str, rows["clip_id"]))
        return [every[place] for place in evenly(len(every), wanted)]
    groups = [part for _, part in rows.groupby(keys[0], dropna=False, observed=True)]
    groups = [groups[place] for place in evenly(len(groups), wanted)]
    shares = deal([len(group) for group in groups], wanted)
    pairs = zip(groups, shares, strict=True)
    return [clip for group, share in pairs for clip in choose(group, share, keys[1:])]


def caption(row: pd.Series) -> list[str]:
    """View; EF or grade where there is one; frames and frame rate."""
    lines = ["view unknown" if pd.isna(row["view"]) else str(row["view"])]
    if pd.notna(row["ef"]):
        lines.append(f"EF {row['ef']:.0f} %")
    elif pd.notna(row["as_grade"]):
        lines.append(f"AS {AS_GRADES[int(row['as_grade'])].replace('_', ' ')}")
    elif pd.notna(row["as_class"]):
        lines.append(f"AS {AS_CLASSES[int(row['as_class'])]}")
    frames = "frames unknown" if pd.isna(row["frames"]) else many(int(row["frames"]), "frame")
    return [*lines, frames if pd.isna(row["fps"]) else f"{frames}, {row['fps']:.0f} Hz"]


def _row(sheet: Image.Image, top: int, name: str, rows: pd.DataFrame, diagnosis: Diagnosis) -> None:
    clips = int((diagnosis.manifest["dataset"] == name).sum())
    chosen = rows.set_index("clip_id").loc[choose(rows, CLIPS)]
    ImageDraw.Draw(sheet).line([(MARGIN, top), (WIDTH - MARGIN, top)], fill=RULE, width=2)
    wide = _text(sheet, (MARGIN, top + 8), name, 26, INK)
    shown = f"{len(chosen)} of {many(clips, 'clip')}"
    _text(sheet, (MARGIN + wide + 16, top + 14), shown, 19, FAINT)
    if diagnosis.synthetic:
        _text(sheet, (WIDTH - MARGIN, top + 14), "SYNTHETIC", 19, AMBER, anchor="ra")
    for place, (clip, row) in enumerate(chosen.iterrows()):
        corner = (MARGIN + place * (SIDE + GAP), top + TITLE)
        picture = Image.fromarray(diagnosis.thumbnails[str(clip)])
        sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), corner)
        for line, words in enumerate(caption(row)):
            below = (corner[0], corner[1] + SIDE + 5 + line * LINE)
            _text(sheet, below, words, 19, FAINT if line else INK)


def _text(
    sheet: Image.Image, corner: tuple[int, int], words: str, size: int, ink: tuple[int, int, int],
    anchor: str = "la",
) -> int:  # fmt: skip
    """Write a line; returns its width in pixels."""
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)
    pen.text(corner, words, font=font, fill=ink, anchor=anchor)
    return round(pen.textlength(words, font=font))
