"""One colour Doppler video in a public layout, under each command that decodes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from echofm_core.data import commands
from echofm_core.data.colour import ColourFlowError
from echofm_core.data.decode import decode_clip
from echofm_core.data.manifest import load_manifest
from echofm_core.data.prepare import decode, read
from echofm_core.plan.load import plan_from_mapping
from tests.data.files import speckle, with_jet, write_avi, write_coloured

HEADER = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EchoNet-Dynamic of two grey videos and one with flow."""
    root = tmp_path_factory.mktemp("EchoNet-Dynamic")
    (root / "Videos").mkdir()
    for seed, name in enumerate(("0XA", "0XB")):
        write_avi(root / "Videos" / f"{name}.avi", speckle(12, 112, 112, seed=seed))
    write_coloured(root / "Videos" / "0XC.avi", with_jet(speckle(12, 112, 112, seed=2)), "MJPG")
    rows = [f"{name},55,50,110,112,112,50,12,TRAIN\n" for name in ("0XA", "0XB", "0XC")]
    (root / "FileList.csv").write_text(HEADER + "".join(rows))
    return root


def run(*words: object) -> str:
    app = typer.Typer()
    commands.register(app)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["data", *map(str, words)])
    assert result.exception is None, result.output
    return result.output


def test_index_looks_at_no_pixel_of_it_and_store_quarantines_it(root: Path, tmp_path: Path) -> None:
    """As docs/reference/data-sets.md says; frames are as large as the plan asks."""
    manifest, found = tmp_path / "m.parquet", tmp_path / "f.csv"
    run("index", root, "--out", manifest)
    assert len(load_manifest(manifest)) == 3
    (tmp_path / "plan.toml").write_text("[data]\nsize = 64\n")
    stores = tmp_path / "stores"
    words = ("--workers", 1, "--findings", found, "--plan", tmp_path / "plan.toml")
    run("store", manifest, "--out", stores, *words)
    assert pd.read_csv(found)[["kind", "severity"]].to_numpy().tolist() == [
        ["colour_doppler", "quarantined"]
    ]
    assert json.loads((stores / "echonet_dynamic" / "meta.json").read_text())["size"] == 64


def test_the_doctor_quarantines_it(root: Path, tmp_path: Path) -> None:
    run("doctor", root, "--out", tmp_path / "doctor", "--workers", 1)
    report = json.loads((tmp_path / "doctor" / "doctor.json").read_text())
    assert report["clips"] == 2
    found = [item for item in report["findings"] if item["severity"] == "quarantined"]
    assert [(item["kind"], item["item"]) for item in found] == [
        ("colour_doppler", "Videos/0XC.avi")
    ]


def test_training_and_evaluation_quarantine_it(root: Path, tmp_path: Path) -> None:
    plan = plan_from_mapping({"machine": {"roots": [str(root)]}}, "test")
    manifest, findings = read(plan.data, plan.machine)
    used = decode(manifest, findings, plan.data, plan.machine, tmp_path)
    assert len(manifest) == 3 and len(used) == 2
    assert [item.kind for item in findings.items if "flow" in item.reason] == ["colour_doppler"]


def test_predict_refuses_it(root: Path) -> None:
    with pytest.raises(ColourFlowError):
        decode_clip(str(root / "Videos" / "0XC.avi"), "own")
