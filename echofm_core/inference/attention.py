"""A picture of where the model looked: frames of a window, and the same with attention on top."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from echofm_core.data.windows import Window
from echofm_core.pages.choice import evenly
from echofm_core.pages.template import png_bytes
from echofm_core.runtime.files import write_whole

#: Side of a frame, space between frames, and height of a line of text, in pixels.
SIDE, GAP, LINE = 168, 6, 20
#: Frames shown; with more slots, every second, third ... is shown.
MOST = 8
BACKGROUND, INK, SOFT = (255, 255, 255), (31, 41, 51), (110, 120, 130)
#: Strongest share of the colour over the grey frame.
STRONGEST = 0.6

Picture = NDArray[np.uint8]


def draw_attention(
    window: Window,
    attention: NDArray[np.float32],
    title: str,
    path: Path,
    *,
    synthetic: bool = False,
) -> None:
    """Write a PNG: above, frames at even times; below, STF-Net's joint attention over them.

    Args:
        window: ``(T, S, S)`` frames with their times.
        attention: ``(slots, rows, cols)``, sums to 1. The colours span zero to its greatest value,
            one scale for the whole picture.
        title: One line above the frames.
        path: PNG to write.
        synthetic: Say that the cine is a phantom.
    """
    slots = len(attention)
    shown = evenly(slots, MOST)
    frames_a_slot = len(window.frames) // slots
    large, font = ImageFont.load_default(size=15), ImageFont.load_default(size=13)
    origin = "SYNTHETIC phantom. " if synthetic else ""
    below = f"{origin}Attention of STF-Net's joint pathway: red, most; none, least. "
    below += "Not a medical device."
    texts = max(large.getlength(title), font.getlength(below))  # few frames are narrower
    width = GAP + max(len(shown) * (SIDE + GAP), int(texts) + 1 + GAP)
    height = 3 * LINE + 2 * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, 4), title, fill=INK, font=large)
    pen.text((GAP, height - LINE), below, fill=SOFT, font=font)
    scale = attention / max(float(attention.max()), 1e-12)
    for column, slot in enumerate(shown):
        middle = slot * frames_a_slot + frames_a_slot // 2
        left, top = GAP + column * (SIDE + GAP), 2 * LINE + GAP
        grey = cv2.resize(window.frames[middle], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        plain = np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)
        pen.text((left, LINE + 6), f"{window.times[middle]:.2f} s", fill=SOFT, font=font)
        sheet.paste(Image.fromarray(plain), (left, top))
        laid = _laid_over(plain, scale[slot])
        sheet.paste(Image.fromarray(laid), (left, top + SIDE + GAP))
    write_whole(path, png_bytes(sheet))


def _laid_over(frame: Picture, weights: NDArray[np.float32]) -> Picture:
    """The frame in colour where weight lies; where there is none it is left as it is."""
    fine = cv2.resize(weights, frame.shape[1::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)
    heat = cv2.applyColorMap((255 * fine).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    share = (STRONGEST * fine)[..., None]
    return np.asarray(frame * (1 - share) + heat * share, dtype=np.uint8)
