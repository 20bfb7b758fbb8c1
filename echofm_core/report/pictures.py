"""Contact sheets of what a site holds, and strips of what the auto-encoder sees."""

import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from echofm_core.data.store.clip_store import ClipStore
from echofm_core.pages.choice import evenly
from echofm_core.pages.template import png_bytes
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.text import many

Grey = NDArray[np.uint8]

#: Side of one drawn frame, in pixels, and the gap around it.
SIDE, GAP = 112, 4
#: Width of the caption beside a clip, its text's size and distance of lines; all in pixels.
CAPTION, TEXT, LINE = 136, 18, 23
#: Frames shown of a clip, and how long they span: about one beat.
FRAMES, SECONDS = 6, 1.0
#: Frames spanned where the frame rate is unknown.
SPAN_UNKNOWN = 32
BACKGROUND, INK, FAINT = 255, 30, 110
#: Lines that a name may take below the label of a strip's first row.
NAME_LINES = 3
#: Labels of a strip's rows.
STRIP_ROWS = ("original", "what the\nencoder sees", "reconstruction")
#: Height of the rows of one example in a strip.
BLOCK = len(STRIP_ROWS) * (SIDE + GAP) + 2 * GAP
#: Level of patches that are hidden from the encoder: no ultrasound is so even.
HIDDEN = 0.5


def contact_sheet(
    store: ClipStore,
    manifest: pd.DataFrame,
    site: str,
    path: Path,
    clips: int = 12,
    *,
    always: Sequence[str] = (),
) -> None:
    """Write a PNG grid of a site's clips: each clip a row of frames over about one beat.

    Frames are masked to their ultrasound sector. Captions hold view, frame rate and length; never
    an id.

    Args:
        store: Holds the clips.
        manifest: Rows of this site or of several.
        site: Whose clips are drawn.
        path: PNG to write; appears whole or not at all.
        clips: At most this many, spread evenly over the site's views and clips.
        always: Clips that are shown whatever is drawn, first, and labelled as real cines.
    """
    rows = manifest[manifest["site"] == site]
    stored = np.array([clip in store for clip in rows["clip_id"]], dtype=bool)
    rows = _choose(rows[stored], clips, always)
    columns = 2 if len(rows) > 1 else 1
    lines = max(1, -(-len(rows) // columns))
    width = CAPTION + FRAMES * (SIDE + GAP) + 2 * GAP
    sheet = Image.new("L", (columns * width, lines * (SIDE + GAP) + GAP), BACKGROUND)
    for number, (_, row) in enumerate(rows.iterrows()):
        column, line = divmod(number, lines)
        corner = (column * width + GAP, line * (SIDE + GAP) + GAP)
        _draw_clip(sheet, corner, store, row, real=row["clip_id"] in always)
    if rows.empty:
        _write(sheet, (GAP, GAP), ["no clips"])
    write_whole(path, png_bytes(sheet))


def reconstruction_strip(
    original: NDArray[np.floating],
    masked: NDArray[np.floating],
    reconstruction: NDArray[np.floating],
    path: Path,
    frames: int = 8,
    *,
    names: Sequence[str] = (),
) -> None:
    """Write a PNG: original, what the encoder sees, and what is made of it, below each other.

    The rows are labelled, the first of each example with its name too, whole however long it is.

    Args:
        original: (T, H, W) in [0, 1], or (N, T, H, W) for several examples.
        masked: Same shape; hidden patches as the caller wants them drawn.
        reconstruction: Same shape; visible patches as in the original, or predicted too.
        path: PNG to write; appears whole or not at all.
        frames: At most this many, evenly over T.
        names: One an example, e.g. its site; without, examples have none.
    """
    stacks = [np.reshape(part, (-1, *part.shape[-3:])) for part in (original, masked)]
    stacks.append(np.reshape(reconstruction, stacks[0].shape))
    examples, length = stacks[0].shape[:2]
    chosen = evenly(length, frames)
    step = SIDE + GAP
    caption, titles = _fitted(names)
    sheet = Image.new("L", (caption + len(chosen) * step + GAP, examples * BLOCK + GAP), BACKGROUND)
    for example in range(examples):
        for line, (name, stack) in enumerate(zip(STRIP_ROWS, stacks, strict=True)):
            top = example * BLOCK + line * step + GAP
            title = titles[example] if line == 0 and titles else []
            _write(sheet, (GAP, top), [*name.split("\n"), *title], ink=1 + name.count("\n"))
            for column, frame in enumerate(chosen):
                pixels = np.clip(np.nan_to_num(stack[example, frame]), 0, 1) * 255
                _paste(sheet, pixels.round().astype(np.uint8), (caption + column * step, top))
    write_whole(path, png_bytes(sheet))


def strip_parts(strip: bytes) -> list[bytes]:
    """A PNG of :func:`reconstruction_strip`, cut so that no example is broken between pages.

    Args:
        strip: Its bytes; of none there are no parts.
    """
    if not strip:
        return []
    try:
        sheet = Image.open(io.BytesIO(strip))
        sheet.load()
    except OSError:  # damaged: the browser shows what it can of it
        return [strip]
    with sheet:
        width, height = sheet.size
        return [
            png_bytes(sheet.crop((0, top, width, min(height, top + BLOCK - GAP))))
            for top in range(0, height - GAP, BLOCK)
        ]


def _fitted(names: Sequence[str]) -> tuple[int, list[list[str]]]:
    """The narrowest caption in which every name fits, and the lines of each."""
    width = CAPTION
    while True:
        titles = [_wrapped(name, width - 2 * GAP) for name in names]
        if max(map(len, titles), default=0) <= NAME_LINES:
            return width, titles
        width += CAPTION // 4


def _wrapped(name: str, width: int) -> list[str]:
    """Lines no wider than so many pixels, broken after ``_``, ``-``, ``.`` or space if possible."""
    font, lines = ImageFont.load_default(TEXT), [""]
    for part in re.findall(r"[^_\-. ]*[_\-. ]?", name):
        pieces = [part] if font.getlength(part) <= width else list(part)
        for piece in pieces:
            if font.getlength(lines[-1] + piece) > width:
                lines.append("")
            lines[-1] += piece
    return lines


def _choose(rows: pd.DataFrame, clips: int, always: Collection[str]) -> pd.DataFrame:
    """The forced rows, then others evenly over (view, clip) order."""
    forced = rows["clip_id"].isin(list(always))
    others = rows[~forced].sort_values(["view", "clip_id"])
    room = max(0, clips - int(forced.sum()))
    return pd.concat([rows[forced], others.iloc[evenly(len(others), room)]])


def _draw_clip(
    sheet: Image.Image, corner: tuple[int, int], store: ClipStore, row: pd.Series, *, real: bool
) -> None:
    clip = str(row["clip_id"])
    fps, length = store.fps(clip), store.length(clip)
    span = min(length, max(2, round(SECONDS * fps)) if fps else SPAN_UNKNOWN)
    chosen = evenly(span, FRAMES)
    view = "view unknown" if pd.isna(row["view"]) else str(row["view"])
    rate = f"{fps:.0f} fps" if fps else "fps unknown"
    _write(sheet, corner, [*(["real cine"] if real else []), view, rate, many(length, "frame")])
    pixels = store.frames(clip, 0, span) * store.sector(clip)
    left, top = corner
    for column, frame in enumerate(chosen):
        _paste(sheet, pixels[frame], (left + CAPTION + column * (SIDE + GAP), top))


def _paste(sheet: Image.Image, pixels: Grey, corner: tuple[int, int]) -> None:
    sheet.paste(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC), corner)


def _write(sheet: Image.Image, corner: tuple[int, int], lines: Sequence[str], ink: int = 1) -> None:
    """Caption: the first lines in ink, the others fainter."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for number, line in enumerate(lines):
        place = (corner[0], corner[1] + 4 + LINE * number)
        draw.text(place, line, fill=FAINT if number >= ink else INK, font=font)
