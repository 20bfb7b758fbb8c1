"""Hospitals as distributions: what a reader finds in their folders, and what is exact beside."""

import csv
from pathlib import Path

import numpy as np
import pytest

from echofm_core.data.manifest import load_manifest
from echofm_core.phantom.heart import Heart
from echofm_core.phantom.hospitals import (
    HELD_OUT,
    HOSPITALS,
    SEALED,
    Hospital,
    draw_hospital,
    examine_at,
    read_volumes,
)
from echofm_core.phantom.institutions import write_hospitals
from tests.support.commands import Echofm


def test_names_are_unlike_and_the_held_out_have_machines_of_their_own() -> None:
    names = [item.name for item in HOSPITALS]
    assert len(names) == len(set(names)) >= 8
    trained = {
        machine for item in HOSPITALS if item.name not in HELD_OUT for machine in item.vendors
    }
    for item in (*HOSPITALS, SEALED):
        if item.name in (*HELD_OUT, SEALED.name):
            assert not trained.intersection(item.vendors)
    assert not {machine for item in HOSPITALS for machine in item.vendors} & set(SEALED.vendors)


def test_readers_err_around_the_truth() -> None:
    """EF of many readings: unbiased where both volumes are off by the same factor, with the spread
    that three fifths of the noise on either volume give: (1 - EF) x sqrt(2) x 0.6 x noise."""
    heart = Heart(edv=120.0, ef=50.0, rate=60.0)
    hospital = Hospital(name="a", vendors=HOSPITALS[0].vendors, reader_bias=0.9, reader_noise=0.1)
    rng = np.random.default_rng(0)
    read = np.array([read_volumes(heart, hospital, rng) for _ in range(4000)])
    assert read[:, 2].mean() == pytest.approx(50, abs=0.4)
    assert read[:, 2].std() == pytest.approx(50 * 2**0.5 * 0.06, rel=0.08)
    assert read[:, 0].mean() == pytest.approx(0.9 * 120, rel=0.02)
    assert read[:, 2] == pytest.approx(100 * (1 - read[:, 1] / read[:, 0]))


def test_settings_differ_within_a_hospital() -> None:
    exams = [examine_at(HOSPITALS[0], np.random.default_rng(seed)) for seed in range(6)]
    assert len({exam.scanner.depth for exam in exams}) == 6
    assert len({exam.scanner.fps for exam in exams}) > 3


def test_more_hospitals_are_drawn_and_the_same_again() -> None:
    first, second = draw_hospital(3, 0), draw_hospital(3, 1)
    assert first == draw_hospital(3, 0) and first.vendors != second.vendors
    assert draw_hospital(4, 0).ef != first.ef


def test_a_folder_is_read_as_a_hospitals_own_files_and_its_truth_joins(
    tmp_path: Path, echofm: Echofm
) -> None:
    roots = write_hospitals(tmp_path / "data", HOSPITALS[:2], 3, seed=1, workers=2)
    assert [root.name for root in roots] == [item.name for item in HOSPITALS[:2]]
    ran = echofm("data", "index", tmp_path / "data", "--out", tmp_path / "m.parquet")
    assert ran.returncode == 0, ran.stderr
    clips = load_manifest(tmp_path / "m.parquet").set_index("clip_id")
    assert sorted(clips["dataset"].unique()) == sorted(item.name for item in HOSPITALS[:2])
    for root in roots:
        with root.with_name(f"{root.name}.truth.csv").open(encoding="utf-8") as file:
            truth = {row["clip"]: float(row["ef"]) for row in csv.DictReader(file)}
        assert len(truth) == 3
        for clip, ef in truth.items():
            assert clips.loc[clip, "ef"] == pytest.approx(ef, abs=25)
            assert clips.loc[clip, "ef"] != pytest.approx(ef, abs=1e-6)


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_hospitals(tmp_path / name, HOSPITALS[-1:], 2, seed=7)
    for path in sorted((tmp_path / "a").rglob("*")):
        if path.is_file():
            assert (
                path.read_bytes()
                == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
            )


def test_the_table_is_printed_and_an_unknown_name_is_refused(echofm: Echofm) -> None:
    shown = echofm("phantom", "hospitals", "--list", "--draw", "2")
    assert shown.returncode == 0 and "hospital_001" in shown.stdout and "valley" in shown.stdout
    assert "summit" not in shown.stdout, "sealed"
    named = echofm("phantom", "hospitals", "--name", "summit", "--name", "valley", "--list")
    assert "summit" in named.stdout and "valley" in named.stdout
    assert "harbour" not in named.stdout
    wrong = echofm("phantom", "hospitals", "--name", "nowhere", "--list")
    assert wrong.returncode == 10
    assert "no hospital 'nowhere'; there are" in " ".join(wrong.stderr.split())
