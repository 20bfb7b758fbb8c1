"""`echofm predict` on real files: what training saw is what is read, and bad files are rows."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from PIL import Image, ImageFont
from pydicom.data import get_testdata_file
from pydicom.examples import get_path
from typer.testing import CliRunner

from echofm_core.contract import ENCODER, HEADS, STF_NET
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.store.build import build_store
from echofm_core.data.windows import ClipWindows, Window
from echofm_core.inference import commands
from echofm_core.inference.attention import draw_attention
from echofm_core.inference.files import files_at, read_file
from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.models.config import StfNetForm
from echofm_core.models.saved import load_model, save_model
from echofm_core.models.weights import to_arrays
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import CheckpointError, DataRootError, UnreadableFileError
from echofm_core.tasks import Task
from echofm_core.training.predict import predict
from tests.data.files import (
    header,
    save_dicom,
    speckle,
    with_jet,
    with_pixels,
    write_avi,
    write_coloured,
    write_jpeg_cine,
    write_nifti,
)
from tests.models.small import small_plan

TASKS = [Task.EF, Task.REDUCED_EF]


@pytest.fixture(params=[StfNetForm.COMPACT, StfNetForm.PUBLISHED])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model of whose three heads two were trained."""
    plan = small_plan(request.param)
    weights = to_arrays(build_echo_model(plan), [ENCODER, STF_NET, HEADS])
    save_model(tmp_path / "run/model", weights, plan, TASKS)
    return tmp_path / "run"


def run(*words: object) -> str:
    app = typer.Typer()
    commands.register(app)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["predict", *map(str, words)], catch_exceptions=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_a_file_is_read_as_evaluation_reads_the_same_clip(saved: Path, tmp_path: Path) -> None:
    """The clip store's path and this one: two codes that must give one number."""
    file = write_avi(tmp_path / "a.avi", speckle(80, 96, 128), 30)
    model = load_model(saved)
    row = {"dataset": "d", "patient_id": "p", "clip_id": "a", "path": str(file), "ef": 50}
    manifest = manifest_from_rows([row])
    store, _ = build_store(manifest, tmp_path / "store", model.plan.data)
    clips = ClipWindows(store, manifest, model.plan.data)
    expected = predict(model.model, clips, model.plan.finetune, batch_size=4, device="cpu")
    reading = read_file(model, file, "cpu")
    assert len(reading.windows[Task.EF]) == 3
    for task in TASKS:
        (value,) = expected.loc[expected["task"] == task.value, "prediction"]
        assert reading.windows[task].mean() == pytest.approx(value, abs=1e-4)


def test_heads_that_saw_no_label_say_nothing(saved: Path, tmp_path: Path) -> None:
    file = write_avi(tmp_path / "a.avi", speckle(20, 96, 128))
    assert list(read_file(load_model(saved), file, "cpu").windows) == TASKS


def test_attention_is_that_of_the_forward_pass(saved: Path, tmp_path: Path) -> None:
    """It sums to one, and pooling the joint grid with it by hand gives what the network pools."""
    model = load_model(saved)
    reading = read_file(model, write_avi(tmp_path / "a.avi", speckle(20, 96, 128)), "cpu")
    assert reading.attention is not None
    assert reading.attention.shape == model.model.encoder.grid
    assert reading.attention.sum() == pytest.approx(1, abs=1e-5)
    unseen = ~model.model.encoder.seen(torch.from_numpy(reading.first.sector[None])).numpy()
    assert unseen.any()
    if model.plan.model.stf_net is StfNetForm.COMPACT:  # nothing is looked at where nothing is
        assert reading.attention.reshape(len(reading.attention), -1)[:, unseen[0]].max() == 0
    tokens = torch.randn(2, *model.model.encoder.grid, model.model.encoder.width)
    net = model.model.stf_net
    weights = net.attention(tokens.flatten(2, 3))  # type: ignore[operator, union-attr]
    assert weights.shape == tokens.shape[:-1]
    if model.plan.model.stf_net is StfNetForm.PUBLISHED:  # one head: its mean is itself
        grid = net.joint(tokens)  # type: ignore[operator, union-attr]
        by_hand = (weights[..., None] * grid).sum(dim=(1, 2, 3))
        torch.testing.assert_close(net.joint_pool(grid.flatten(1, 3)), by_hand)  # type: ignore[operator, union-attr]


def test_table_csv_json_and_pictures(saved: Path, tmp_path: Path) -> None:
    """A video, the real cine, a still and damage; only the first two are read."""
    (tmp_path / "in").mkdir()
    video = write_avi(tmp_path / "in/a.avi", speckle(20, 96, 128))
    write_jpeg_cine(tmp_path / "in/b.dcm", speckle(12))
    (tmp_path / "in/c.avi").write_bytes(b"junk")
    real = Path(str(get_path("ybr_color")))
    still = get_testdata_file("JPGLosslessP14SV1_1s_1f_8b.dcm")
    places = [tmp_path / "in", real, *([still] if still else [])]
    printed = run(saved, *places, "--pictures", tmp_path / "looks")
    assert "30 frames, 30.0 a second, 1 window" in printed
    assert ("The object has one frame" in printed) == bool(still)
    assert "Not a medical device" in printed
    assert sorted(path.name for path in (tmp_path / "looks").iterdir()) == [
        "cine-0001.png", "cine-0002.png", "cine-0004.png",
    ]  # fmt: skip
    assert np.asarray(Image.open(tmp_path / "looks/cine-0004.png")).std() > 10

    pictured = pd.read_csv(
        StringIO(run(saved, *places, "--pictures", tmp_path / "looks", "--form", "csv"))
    )
    assert dict(zip(pictured["file"], pictured["picture"], strict=True))[str(real)] == (
        "cine-0004.png"
    )
    assert ", picture cine-0004.png" in printed

    rows = json.loads(run(saved, *places, "--form", "json"))
    assert {row["task"] for row in rows if row["file"] == str(video)} == {"ef", "reduced_ef"}
    run(saved, *places, "--out", tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv")
    assert len(table) == len(rows)
    refused = table[table["task"] == "refused"]
    assert refused["file"].iloc[0] == str(tmp_path / "in/c.avi")
    assert refused["value"].isna().all()


def test_an_archive_s_names_are_found_below_a_folder(saved: Path, tmp_path: Path) -> None:
    """By their content alone; the picture of the still among them is refused by its header."""
    (tmp_path / "in/IMAGES").mkdir(parents=True)
    cine = write_jpeg_cine(tmp_path / "in/IMAGES/IM000001", speckle(20, 96, 128))
    still = write_jpeg_cine(tmp_path / "in/1.2.840.5", speckle(1))
    (tmp_path / "in/README").write_text("x" * 200)
    (tmp_path / "in/DICOMDIR").write_bytes(cine.read_bytes())
    assert files_at([tmp_path / "in"]) == [still, cine]
    assert read_file(load_model(saved), cine, "cpu").frames == 20
    with pytest.raises(UnreadableFileError, match="one frame"):
        read_file(load_model(saved), still, "cpu")


def test_nothing_readable_is_an_error(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "c.avi").write_bytes(b"junk")
    with pytest.raises(UnreadableFileError, match="of 1 file none"):
        run(saved, tmp_path / "c.avi")
    with pytest.raises(DataRootError, match="none does not exist"):
        files_at([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataRootError, match="empty holds no cine"):
        files_at([tmp_path / "empty"])


def test_why_a_video_is_refused(saved: Path, tmp_path: Path) -> None:
    whole = write_avi(tmp_path / "whole.avi", speckle(20, 96, 128)).read_bytes()
    said = {
        b"": "a video file is empty",
        b"Dear colleague,\n": "neither AVI nor MP4",
        whole[:200]: "no whole frame",
    }
    model = load_model(saved)
    for content, reason in said.items():
        (tmp_path / "a.avi").write_bytes(content)
        with pytest.raises(UnreadableFileError, match=reason):
            read_file(model, tmp_path / "a.avi", "cpu")


def test_colour_is_refused_and_a_claim_of_it_is_not(saved: Path, tmp_path: Path) -> None:
    """By the pixels: of DICOM, AVI and MP4 alike."""
    model, grey = load_model(saved), speckle(20, 96, 128)
    jet = with_jet(grey)
    claims = write_jpeg_cine(tmp_path / "a.dcm", grey, UltrasoundColorDataPresent=1)
    assert read_file(model, claims, "cpu").frames == 20
    silent = save_dicom(tmp_path / "b.dcm", with_pixels(header(), "RGB", jet))
    videos = [
        write_coloured(tmp_path / "c.avi", jet, "MJPG"),
        write_coloured(tmp_path / "d.mp4", jet, "mp4v"),
    ]
    for file in (silent, *videos):
        with pytest.raises(UnreadableFileError, match="colour flow"):
            read_file(model, file, "cpu")


def test_camus_has_its_rate_from_the_settings_and_no_mask_is_read(
    saved: Path, tmp_path: Path
) -> None:
    frames = speckle(20, 96, 128)
    name = "patient0001_4CH_half_sequence"
    file = write_nifti(tmp_path / f"{name}.nii.gz", frames)
    mask = write_nifti(tmp_path / f"{name}_gt.nii.gz", frames // 100)
    (tmp_path / "Info_4CH.cfg").write_text("ED: 1\nES: 20\nFrameRate: 48.4\n")
    assert files_at([tmp_path]) == [file]
    assert read_file(load_model(saved), file, "cpu").fps == pytest.approx(48.4)
    with pytest.raises(UnreadableFileError, match="named as a mask"):
        read_file(load_model(saved), mask, "cpu")


def test_what_was_mended_stands_beside_the_numbers(saved: Path, tmp_path: Path) -> None:
    file = write_avi(tmp_path / "a.avi", speckle(60, 96, 128))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    assert "its own header says 60" in run(saved, file, "--form", "csv")


def test_out_is_csv_or_json(saved: Path, tmp_path: Path) -> None:
    file = write_avi(tmp_path / "a.avi", speckle(20, 96, 128))
    assert "must end in .csv or .json" in run(saved, file, "--out", tmp_path / "p.xlsx")
    assert not (tmp_path / "p.xlsx").exists()


def test_models_that_cannot_predict_are_refused(tmp_path: Path) -> None:
    plan = small_plan()
    with pytest.raises(CheckpointError, match="there is no model"):
        load_model(tmp_path)
    save_model(tmp_path / "encoder", to_arrays(build_autoencoder(plan), [ENCODER]), plan, [])
    with pytest.raises(CheckpointError, match="pre-training alone"):
        load_model(tmp_path / "encoder")
    weights = to_arrays(build_echo_model(plan), [ENCODER, STF_NET, HEADS])
    save_model(tmp_path / "whole", weights, plan, TASKS)
    file = tmp_path / "whole/model.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 64
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match="changed after"):
        load_model(tmp_path / "whole")


def test_a_model_that_pools_by_the_mean_has_no_attention(tmp_path: Path) -> None:
    plan = plan_from_mapping(
        {**small_plan().decisive(), "model": {"size": "tiny", "patch": 8, "stf_net": "mean_pool"}},
        "of a test",
    )
    weights = to_arrays(build_echo_model(plan), [ENCODER, STF_NET, HEADS])
    save_model(tmp_path, weights, plan, TASKS)
    file = write_avi(tmp_path / "a.avi", speckle(20, 96, 128))
    reading = read_file(load_model(tmp_path), file, "cpu")
    assert reading.attention is None
    assert np.isfinite(reading.windows[Task.EF]).all()


def test_a_picture_of_few_frames_is_as_wide_as_its_words(tmp_path: Path) -> None:
    """One frame is 180 pixels wide; that it is no medical device takes more, and is said whole."""
    window = Window(
        frames=np.zeros((2, 16, 16), np.uint8),
        times=np.zeros(2, np.float32),
        sector=np.ones((16, 16), bool),
    )
    attention = np.ones((1, 2, 2), np.float32)
    draw_attention(window, attention, "EF 55 %", tmp_path / "a.png", synthetic=True)
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert picture[:, -2:].min() == 255
    inked = np.flatnonzero((picture[-20:] < 200).any(axis=0))
    said = "SYNTHETIC phantom. Attention of STF-Net's joint pathway: red, most; none, least. Not a "
    length = ImageFont.load_default(size=13).getlength(f"{said}medical device.")
    assert inked[-1] - inked[0] == pytest.approx(length, abs=4)
