from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from echofm_core.data import commands
from echofm_core.data.store.clip_store import open_stores
from echofm_core.phantom.institutions import Layout, write_institutions
from echofm_core.runtime.errors import DataRootError, PlanError
from tests.data.files import speckle, write_avi

ROWS = "FileName,EF,ESV,EDV,Split\n0XA,60,40,100,TRAIN\n0XB,30,70,100,TEST\n0XGONE,1,1,1,TRAIN\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "echonet" / "Videos").mkdir(parents=True)
    for name in ("0XA", "0XB"):
        write_avi(tmp_path / "echonet" / "Videos" / f"{name}.avi", speckle(10))
    (tmp_path / "echonet" / "FileList.csv").write_text(ROWS)
    return tmp_path / "echonet"


def run(*words: object) -> str:
    app = typer.Typer()
    commands.register(app)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["data", *map(str, words)], catch_exceptions=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_index_then_store(root: Path, tmp_path: Path) -> None:
    manifest, found = tmp_path / "out" / "m.parquet", tmp_path / "f.csv"
    printed = run("index", root, "--out", manifest, "--findings", found)
    assert "echonet_dynamic" in printed
    assert "missing_file" in printed
    assert "2 clips in" in printed
    assert "0XGONE" in " ".join(pd.read_csv(found)["item"])
    printed = run("store", manifest, "--out", tmp_path / "stores", "--size", 32)
    assert "Nothing was wrong" in printed
    assert sorted(open_stores(tmp_path / "stores").index.index) == ["0XA", "0XB"]
    assert "echonet_dynamic: 2 clips" in printed


def test_a_plan_says_how_a_data_set_is_read(tmp_path: Path) -> None:
    """TMED-2: the default is a clip a study, `images` a clip an image; both commands obey."""
    write_institutions(tmp_path / "root", {Layout.TMED2: 2}, seed=1)
    plan = tmp_path / "plan.toml"
    plan.write_text('name = "tufts"\n[data.tmed2]\nform = "images"\n')
    manifest, report = tmp_path / "m.parquet", tmp_path / "report"
    run("index", tmp_path / "root", "--out", manifest)
    studies = pd.read_parquet(manifest)
    assert not studies["clip_id"].duplicated().any()
    stills = studies["path"].str.split(os.pathsep).explode()
    assert len(stills) > len(studies) > 0

    run("index", tmp_path / "root", "--out", manifest, "--plan", plan)
    assert sorted(pd.read_parquet(manifest)["path"]) == sorted(stills)
    few = ("--decode", 1, "--workers", 1)
    run("doctor", tmp_path / "root", "--out", report, *few, "--plan", plan)
    assert json.loads((report / "doctor.json").read_text())["clips"] == len(stills)
    with pytest.raises(PlanError, match="does not exist"):
        run("doctor", tmp_path / "root", "--out", report, "--plan", tmp_path / "none.toml")


def test_help_teaches_by_example() -> None:
    assert "echofm data index ~/data --out manifest.parquet" in run("index", "--help")
    assert "--workers 8" in run("store", "--help")
    # Arguments too: pairs of typer and click exist that show none of their help.
    assert "Folders of data sets" in " ".join(run("doctor", "--help").split())


def test_mistakes_are_one_sentence(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataRootError, match="does not exist"):
        run("index", tmp_path / "none", "--out", tmp_path / "m.parquet")
    run("index", root, "--out", tmp_path / "m.parquet")
    with pytest.raises(PlanError, match="--size 33"):
        run("store", tmp_path / "m.parquet", "--out", tmp_path / "s", "--size", 33)
