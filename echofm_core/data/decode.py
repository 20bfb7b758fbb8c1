"""One clip from disk to grey frames and its sector, whatever the container."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.cine import Cine
from echofm_core.data.colour import ColourFlowError
from echofm_core.data.dicom.frames import read_cine, shows_colour
from echofm_core.data.dicom.sector import NoSectorError, crop, find_sector, lit_area
from echofm_core.data.dicom.text import LIT, burnt_in
from echofm_core.data.file_kinds import Kind, kind_of
from echofm_core.data.findings import Note, Severity
from echofm_core.data.formats import mhd, nifti, stills, video
from echofm_core.data.limits import PixelSize
from echofm_core.data.manifest import files_of
from echofm_core.data.patients import PUBLISHED
from echofm_core.runtime.errors import UnreadableFileError, refusing

#: Forms that only research data come in: nothing is drawn on their pictures.
RESEARCH = frozenset({Kind.NIFTI, Kind.NIFTI_PACKED, Kind.MHD})
#: Pixels of the longer side up to which a published video is one of the prepared ones, of 112.
SMALL = 128
#: Share of a sector up to which burnt-in text is set to black.
MOST_BLACKED_OUT = 0.08


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A clip at the source's resolution or half of it, cropped to the sector where small.

    Attributes:
        frames: ``(N, H, W)`` uint8, zero outside the sector.
        sector: ``(H, W)`` bool.
        fps, times, notes, pixel: See :class:`~echofm_core.data.cine.Cine`; the pixel is of these
            frames.
    """

    frames: NDArray[np.uint8]
    fps: float | None
    sector: NDArray[np.bool_]
    times: NDArray[np.float64] | None = None
    notes: tuple[Note, ...] = ()
    pixel: PixelSize | None = None


def sources(path: str) -> list[Path]:
    """Every file that decides how a clip decodes, in order: its content is what is hashed."""
    files = files_of(path)
    settings = nifti.settings_beside(files[0])
    raw = [mhd.read_header(files[0]).file] if clip_kind(path) is Kind.MHD else []
    return [*files, *raw] if settings is None else [*files, *raw, settings]


def clip_kind(path: str) -> Kind | None:
    """Kind of a clip's files; stills that are one clip are all of one kind."""
    return kind_of(files_of(path)[0])


def decode_clip(path: str, dataset: str, side: int | None = None) -> Decoded:
    """Decode a clip.

    Args:
        path, dataset: As in the manifest.
        side: See :func:`echofm_core.data.formats.video.read_grey`.

    Raises:
        UnreadableFileError: Nothing here can decode it, it is damaged beyond one frame, its pixels
            show colour flow, or it may tell of a person and shows no ultrasound sector.
    """
    # A damaged file can raise anything in five decoders; one file never ends a build.
    with refusing(f"a {dataset} clip ({clip_kind(path)}) cannot be decoded"):
        return _decode(path, side, published=dataset in PUBLISHED)


def _decode(path: str, side: int | None, *, published: bool) -> Decoded:
    kind = clip_kind(path)
    if kind is Kind.PNG:
        frames = stills.read_stack(files_of(path))
        return Decoded(frames, None, lit_area(frames))
    if kind in (Kind.AVI, Kind.MP4):
        cine = video.read_grey(Path(path), side)
    elif kind is Kind.DICOM:
        if shows_colour(Path(path)):
            raise ColourFlowError
        cine = read_cine(Path(path))
    elif kind in RESEARCH:
        file = Path(path)
        if nifti.is_mask(file):
            raise UnreadableFileError("the file is named as a mask (_gt), which is no cine.")
        form = mhd if kind is Kind.MHD else nifti
        frames = nifti.in_order(form.read_sequence(file), file)
        cine = Cine(frames, nifti.stated_rate(file), pixel=form.read_header(file).pixel)
    else:
        ending = Path(files_of(path)[0]).suffix.lower()
        raise UnreadableFileError(f"`{ending or 'no ending'}` is not a known clip format.")
    frames, fps, region, times, notes, pixel = cine
    strict = not (published and (kind in RESEARCH or max(frames.shape[1:]) <= SMALL))
    sector = find_sector(frames, region, refuse_text=strict)
    if sector is None:
        if strict and frames.max() >= LIT:
            raise NoSectorError(
                "The clip shows no ultrasound sector; it may be a page of text, and is not kept."
            )
        sector = lit_area(frames)
    frames, sector = crop(frames, sector)
    # In place: a long clip is most of the memory that a decoding process has.
    frames = frames if frames.flags.writeable else frames.copy()
    np.multiply(frames, sector, out=frames)
    notes += _black_out(frames, sector) if strict else ()
    return Decoded(frames, fps, sector, times, notes, pixel)


def _black_out(frames: NDArray[np.uint8], sector: NDArray[np.bool_]) -> tuple[Note, ...]:
    """Set burnt-in text to zero in every frame, in place; noted alone where much would go."""
    text = burnt_in(frames, sector)
    if not text.any():
        return ()
    share = float(text.mean() / sector.mean())
    what = (
        "Lit pixels inside the sector never change while their surroundings do, as burnt-in text "
        f"does ({share:.1%} of the sector)"
    )
    if share > MOST_BLACKED_OUT:
        reason = f"{what}; they stay: look at the clip before it is used."
        return (Note("burnt_in", reason, Severity.NOTED),)
    frames[:, text] = 0
    return (Note("burnt_in", f"{what}; they are set to black.", Severity.REPAIRED),)
