"""Every transfer syntax, from files that somebody else's encoder wrote."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.filewriter import dcmwrite

from echofm_core.data.dicom import codecs
from echofm_core.data.dicom.frames import read_cine
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.dicom.made import ENCODERS, cine, jpeg, jpeg_2000, sample, write_encapsulated
from tests.data.files import header, save_dicom, with_pixels, write_avi

STREAMS = Path(__file__).parent / "streams"
EXTRA_CODED = frozenset(codecs.OPTIONAL) | {uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL}


def apart(one: NDArray[np.generic], other: NDArray[np.generic]) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("syntax", ENCODERS)
def test_compressed(tmp_path: Path, syntax: str) -> None:
    """The difference allowed is the lossy coder's own, 0 for the lossless."""
    if syntax in EXTRA_CODED:
        pytest.importorskip("imagecodecs")
    encode, tolerance = ENCODERS[syntax]
    frames = cine()
    path = write_encapsulated(
        tmp_path / "a.dcm", [encode(frame) for frame in frames], syntax, frames
    )
    decoded = read_cine(path)[0]
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8
    assert apart(decoded, frames) <= tolerance


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_native(tmp_path: Path, syntax: uid.UID, bits: int) -> None:
    frames = cine(white=2**bits - 1)
    dataset = with_pixels(header(FrameTime="20"), "MONOCHROME2", frames)
    if syntax == uid.ExplicitVRBigEndian:
        # PS3.5 8.1.2: words of two bytes, most significant byte first, 8-bit pixels among them.
        dataset.PixelData = frames.view(np.uint16).byteswap().tobytes()
        dataset["PixelData"].VR = "OW"
    path = save_dicom(tmp_path / "a.dcm", dataset, syntax)
    decoded, fps, _ = read_cine(path)[:3]
    assert apart(decoded, np.rint(frames / (257 if bits == 16 else 1))) == 0
    assert fps == pytest.approx(50)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless])
def test_wide_samples(tmp_path: Path, syntax: str, bits: int) -> None:
    """By hand: v of 2**bits - 1 is the grey 255 v / (2**bits - 1)."""
    frames = cine(white=2**bits - 1)
    if syntax == uid.JPEG2000Lossless:
        images = [jpeg_2000(frame) for frame in frames]
    else:
        codec = pytest.importorskip("imagecodecs")
        options = {"lossless": True, "bitspersample": bits}
        images = [
            codec.jpegls_encode(frame)
            if syntax == uid.JPEGLSLossless
            else codec.jpeg8_encode(frame, **options)
            for frame in frames
        ]
    path = write_encapsulated(tmp_path / "a.dcm", images, syntax, frames, BitsStored=bits)
    assert apart(read_cine(path)[0], np.rint(frames * (255 / (2**bits - 1)))) == 0


def test_jpeg_of_twelve_bits(tmp_path: Path) -> None:
    codec = pytest.importorskip("imagecodecs")
    frames = cine(white=4095)
    images = [codec.jpeg8_encode(frame, level=98, bitspersample=12) for frame in frames]
    path = write_encapsulated(
        tmp_path / "a.dcm", images, uid.JPEGExtended12Bit, frames, BitsStored=12
    )
    assert apart(read_cine(path)[0], np.rint(frames * (255 / 4095))) <= 1


@pytest.mark.parametrize("photometric", ["YBR_RCT", "YBR_ICT", "RGB"])
def test_colours_of_jpeg_2000(tmp_path: Path, photometric: str) -> None:
    """The decoder undoes the colour transform; grey is the luma of ITU-R BT.601."""
    colour = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    images = [jpeg_2000(frame) for frame in colour]
    path = write_encapsulated(tmp_path / "a.dcm", images, uid.JPEG2000Lossless, colour, photometric)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_cine(path)[0] - luma).max() <= 1


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colours_of_lossless_codings(tmp_path: Path, syntax: str, photometric: str) -> None:
    """They hand out what is stored: Y is the first, grey of RGB is its luma."""
    if syntax in EXTRA_CODED:
        pytest.importorskip("imagecodecs")
    colour = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    images = [ENCODERS[syntax][0](frame) for frame in colour]
    path = write_encapsulated(tmp_path / "a.dcm", images, syntax, colour, photometric)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    expected = luma if photometric == "RGB" else colour[..., 0]
    assert np.abs(read_cine(path)[0] - expected).max() <= 1


@pytest.mark.parametrize(
    ("coded", "plain"),
    [
        ("693_J2KR.dcm", "693_UNCR.dcm"),
        ("693_J2KI.dcm", "693_UNCI.dcm"),
        ("MR2_J2KR.dcm", "MR2_UNCR.dcm"),
        ("RG3_J2KR.dcm", "RG3_UNCR.dcm"),
        ("US1_J2KR.dcm", "US1_UNCR.dcm"),
        ("US1_J2KI.dcm", "US1_UNCI.dcm"),
        ("emri_small_RLE.dcm", "emri_small.dcm"),
        ("emri_small_big_endian.dcm", "emri_small.dcm"),
        ("OBXXXX1A_rle_2frame.dcm", "OBXXXX1A_2frame.dcm"),
        ("OBXXXX1A_expb_2frame.dcm", "OBXXXX1A_2frame.dcm"),
        ("emri_small_jpeg_ls_lossless.dcm", "emri_small.dcm"),
    ],
)
def test_files_of_other_makers(coded: str, plain: str) -> None:
    """What other software wrote, beside the same pixels without compression: 8 to 16 bits, signed
    and unsigned, MONOCHROME1 and 2, colour and palette."""
    if "jpeg_ls" in coded:
        pytest.importorskip("imagecodecs")
    assert apart(read_cine(sample(coded))[0], read_cine(sample(plain))[0]) == 0


def test_real_lossless_still() -> None:
    """A Philips echo still in lossless JPEG, against another decoder of the same package."""
    codec = pytest.importorskip("imagecodecs")
    path = sample("JPGLosslessP14SV1_1s_1f_8b.dcm")
    data = next(pydicom.encaps.generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
    np.testing.assert_array_equal(read_cine(path)[0][0], codec.jpegsof3_decode(data))


@pytest.mark.parametrize(
    ("file", "syntax"),
    [
        ("mpeg2.mpg", uid.MPEG2MPML),
        ("h264.ts", uid.MPEG4HP41),
        ("h264.ts", uid.MPEG4HP42STEREOF),
        ("hevc.ts", uid.HEVCMP51),
        ("hevc.mp4", uid.HEVCMP51),
    ],
)
def test_videos(tmp_path: Path, file: str, syntax: str) -> None:
    """Eight frames of ``128 + 90 sin(x / 9 + 0.6 n) cos(y / 11)`` at 25 Hz, by x264, x265 and
    FFmpeg's MPEG-2 encoder; some are in several fragments."""
    y, x = np.mgrid[:64, :64]
    waves = [128 + 90 * np.sin(x / 9 + number * 0.6) * np.cos(y / 11) for number in range(8)]
    data = (STREAMS / file).read_bytes()
    data += b"\0" * (len(data) % 2)
    parts = [data[:1000], data[1000:]] if "ts" in file else [data]
    path = write_encapsulated(tmp_path / "a.dcm", parts, syntax, np.zeros((8, 64, 64), np.uint8))
    decoded, fps, _ = read_cine(path)[:3]
    assert decoded.shape == (8, 64, 64)
    assert np.abs(decoded - np.stack(waves)).mean() < 4
    assert fps == pytest.approx(25)


def test_the_header_times_a_video_before_its_container(tmp_path: Path) -> None:
    frames = np.repeat(cine(12, 64, 64)[..., None], 3, axis=-1)[..., 0]
    stream = write_avi(tmp_path / "a.avi", frames).read_bytes()
    path = write_encapsulated(
        tmp_path / "a.dcm",
        [stream + b"\0" * (len(stream) % 2)],
        uid.MPEG4HP41,
        frames,
        FrameTime="40",
    )
    decoded, fps, _ = read_cine(path)[:3]
    assert decoded.shape == frames.shape
    assert fps == pytest.approx(25)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.110", "JPEG XL Lossless"),
        ("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression"),
        ("1.2.840.10008.1.2.4.112", "JPEG XL"),
        ("1.2.840.10008.1.2.4.94", "JPIP Referenced"),
        ("1.2.840.113619.5.2.111", "unknown"),
    ],
)
def test_what_nothing_decodes_is_named(tmp_path: Path, syntax: str, name: str) -> None:
    """Written under another name of the same length, as pydicom writes only what it knows."""
    known = {uid.MPEG2MPML: 23, uid.JPEG2000: 22, uid.DeflatedExplicitVRLittleEndian: 22}
    other = next(other for other, length in known.items() if length == len(syntax))
    path = write_encapsulated(tmp_path / "a.dcm", [b"\xff\x0a" * 40], other, cine(1))
    path.write_bytes(path.read_bytes().replace(other.encode(), syntax.encode()))
    with pytest.raises(UnreadableFileError) as caught:
        read_cine(path)
    assert f"{name} ({syntax})" in str(caught.value)
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize("syntax", codecs.OPTIONAL)
def test_a_missing_codec_is_named_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    """The package is hidden from the search that finds it, as if it were not installed."""
    monkeypatch.setattr(codecs, "PACKAGE", "imagecodecs_that_is_not_there")
    path = write_encapsulated(tmp_path / "a.dcm", [jpeg(cine(1)[0])], syntax, cine(1))
    with pytest.raises(UnreadableFileError) as caught:
        read_cine(path)
    name = uid.UID(syntax).name
    assert f"{name} ({syntax})" in str(caught.value)
    assert "pip install 'imagecodecs>=2025.3'" in str(caught.value)


def test_a_header_without_syntax(tmp_path: Path) -> None:
    path = write_encapsulated(tmp_path / "a.dcm", [jpeg(cine(1)[0])], uid.JPEGBaseline8Bit, cine(1))
    dataset = pydicom.dcmread(path)
    del dataset.file_meta.TransferSyntaxUID
    dcmwrite(path, dataset, implicit_vr=False, little_endian=True, enforce_file_format=False)
    with pytest.raises(UnreadableFileError):
        read_cine(path)


def test_nothing_is_said_on_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Decoders in C print what they think of damage, some of them with bytes of the file."""
    frames = cine()
    for number, (syntax, (encode, _)) in enumerate(ENCODERS.items()):
        if syntax in EXTRA_CODED:
            pytest.importorskip("imagecodecs")
        images = [encode(frame) for frame in frames]
        images[2] = images[2][: len(images[2]) // 4 * 2]
        path = write_encapsulated(tmp_path / f"{number}.dcm", images, syntax, frames)
        assert len(read_cine(path)[0]) in (2, 5)
    for file in STREAMS.iterdir():
        data = file.read_bytes()[:1200]
        path = write_encapsulated(tmp_path / file.name, [data], uid.MPEG4HP41, frames)
        with suppress(UnreadableFileError):
            assert len(read_cine(path)[0]) <= 8
    assert capfd.readouterr() == ("", "")
