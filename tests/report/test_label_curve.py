"""Data-efficiency curves: which points they have, and where there are none. Values by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.over_seeds import OVER_SEEDS
from echofm_core.report.export import export
from echofm_core.report.formats import TableFormat
from echofm_core.report.label_curve import label_curve_rows, label_curves
from echofm_core.report.study_page import label_tables, read_parts
from echofm_core.report.study_table import METHOD_COLUMNS, StudyScores
from tests.report.made_run import write_made_label_study, write_made_study

KEY = "finetune.label_fraction"
METHODS = pd.DataFrame(
    [
        ("fedavg", "federated", "", "", 1.0, 1, 1),
        ("no_pretraining", "no_pretraining", "", "", 1.0, 1, 1),
    ],
    columns=list(METHOD_COLUMNS),
)
#: EF MAE by site.
Values = Mapping[str, float]


def part(
    share: float,
    federated: Values,
    other: Values,
    *,
    more: Mapping[str, str] | None = None,
    unseen: tuple[str, ...] = (),
    interval: float = 1.0,
) -> tuple[Mapping[str, str], float, StudyScores]:
    """One variation: EF MAE of two methods at some sites, intervals of so much on either side."""
    rows = [
        (site, "ef", "mae", value, value - interval, value + interval, 20, 0.25, 3, model)
        for model, values in (("federated", federated), ("no_pretraining", other))
        for site, value in values.items()
    ]
    scores = pd.DataFrame(rows, columns=[*OVER_SEEDS, "model"])
    study = StudyScores(
        scores=scores,
        seeds=scores.assign(seed=0),
        methods=METHODS,
        config=EvaluationConfig(),
        unseen=unseen,
    )
    return {KEY: f"{share:g}", **(more or {})}, share, study


def points(table: pd.DataFrame, line: str, test_set: str = "sites that train") -> list[object]:
    """Share and value of a line's points."""
    rows = table[(table["line"] == line) & (table["test_set"] == test_set)]
    return list(rows[["label_fraction", "value"]].itertuples(index=False, name=None))


def test_a_line_a_method_by_rising_share_of_all_sites_together() -> None:
    """The study names its shares in any order; A and B alone are no point."""
    parts = [
        part(1.0, {"A": 3, "B": 5, "all": 4.5}, {"A": 6, "B": 8, "all": 7.5}),
        part(0.1, {"A": 7, "B": 9, "all": 8.5}, {"A": 10, "B": 12, "all": 11.5}),
    ]
    table = label_curve_rows(parts)
    assert list(table["line"].unique()) == ["fedavg", "no_pretraining"]
    assert points(table, "fedavg") == [(0.1, 8.5), (1.0, 4.5)]
    assert points(table, "no_pretraining") == [(0.1, 11.5), (1.0, 7.5)]
    first = table.iloc[0]
    assert (first["low"], first["high"], first["spread"], first["seeds"]) == (7.5, 9.5, 0.25, 3)


def test_one_site_of_a_kind_stands_for_all_of_it() -> None:
    """A trains and Z is never seen: one of either, so that there is no set of several."""
    parts = [part(s, {"A": 4 / s, "Z": 5 / s}, {"A": 6 / s}, unseen=("Z",)) for s in (0.5, 1.0)]
    table = label_curve_rows(parts)
    assert points(table, "fedavg") == [(0.5, 8), (1.0, 4)]
    assert points(table, "fedavg", "sites never seen") == [(0.5, 10), (1.0, 5)]
    assert points(table, "no_pretraining", "sites never seen") == []


def test_a_score_of_fewer_patients_is_no_point_beside_those_of_all() -> None:
    """With a tenth of the labels no_pretraining was tested at A alone: its "all" is A's."""
    parts = [part(share, {"A": 3, "B": 5, "all": 4}, {"A": 6, "all": 6}) for share in (0.1, 0.5)]
    parts.append(part(1.0, {"A": 3, "B": 5, "all": 4}, {"A": 6, "B": 8, "all": 7}))
    for number, (*words, study) in enumerate(parts):
        few = (study.scores["model"] == "no_pretraining") | (study.scores["site"] != "all")
        patients = 20 if number == 0 else 40  # of all sites; A and B have 20 each
        scores = study.scores.assign(patients=np.where(few, patients, 40))
        parts[number] = (*words, replace(study, scores=scores))
    table = label_curve_rows(parts)
    assert points(table, "fedavg") == [(0.1, 4), (0.5, 4), (1.0, 4)]
    assert points(table, "no_pretraining") == [(0.5, 6), (1.0, 7)]


def test_other_varied_keys_part_the_lines() -> None:
    parts = [
        part(share, {"all": 4 + number}, {"all": 9}, more={"model.stf_without": word})
        for number, word in enumerate(("none", "grey"))
        for share in (0.1, 1.0)
    ]
    table = label_curve_rows(parts)
    assert points(table, "fedavg, model.stf_without = none") == [(0.1, 4), (1.0, 4)]
    assert points(table, "fedavg, model.stf_without = grey") == [(0.1, 5), (1.0, 5)]


def test_a_share_in_a_table_of_keys_counts_too() -> None:
    """`finetune = [{label_fraction = 0.1, rounds = 9}, {rounds = 9}]`."""
    words = ["label_fraction 0.1, rounds 9", "rounds 9"]
    parts = [
        ({"finetune": word}, *part(share, {"all": 4 / share}, {"all": 9})[1:])
        for word, share in zip(words, (0.1, 1.0), strict=True)
    ]
    assert points(label_curve_rows(parts), "fedavg, finetune = rounds 9") == [(0.1, 40), (1.0, 4)]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [part(1.0, {"all": 4.0}, {"all": 5.0})],
        [part(0.5, {"all": 4.0}, {}, more={"model.patch": word}) for word in ("8", "16")],
        [part(s, {"all": 4.0}, {}, more={"model.patch": str(s)}) for s in (0.5, 1.0)],
    ],
    ids=["no part", "one share", "another key", "two keys at once"],
)
def test_without_two_shares_of_one_line_there_is_nothing(
    parts: list[tuple[Mapping[str, str], float, StudyScores]],
) -> None:
    table = label_curve_rows(parts)
    assert table.empty and label_curves(table, 0.95) == []


def test_a_picture_says_what_it_shows_and_marks_each_point() -> None:
    parts = [part(s, {"all": 4 / s}, {"all": 8 / s}) for s in (0.5, 1.0)]
    (made,) = label_curves(label_curve_rows(parts), 0.9)
    assert made.words == (
        "EF MAE (points), lower is better, by the share of labels. Shaded: 90% intervals over test "
        "patients, of the mean over seeds. fedavg at sites that train: 8 with 50 % of the labels, "
        "4 with 100 %; no_pretraining at sites that train: 16 with 50 % of the labels, 8 with "
        "100 %."
    )
    (panel,) = json.loads(made.marks)
    assert panel["x"]["log"] is True
    assert panel["lines"] == [
        ["fedavg", [50.0, 100.0], [8.0, 4.0]],
        ["no_pretraining", [50.0, 100.0], [16.0, 8.0]],
    ]


def test_without_intervals_the_spread_between_seeds_is_shaded() -> None:
    parts = [part(s, {"all": 4.0}, {"all": 8.0}, interval=math.nan) for s in (0.5, 1.0)]
    (made,) = label_curves(label_curve_rows(parts), 0.95)
    assert "Shaded: one standard deviation between seeds" in made.words
    table = label_curve_rows(parts).assign(spread=np.nan)
    assert "No interval is known." in label_curves(table, 0.95)[0].words


def test_the_page_has_it_and_its_data_are_written(tmp_path: Path) -> None:
    """EF MAE of 12, 10 and 8 points with 1, 10 and 100 % of the labels."""
    study = write_made_label_study(tmp_path / "study")
    list(export([study], TableFormat.CSV, predictions=False, out=None))
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "Scores by the share of labels" in page
    assert 'download="label-fraction-ef-mae.csv"' in page
    saved = pd.read_csv(study / "export/figures/label-fraction-ef-mae.csv")
    own = saved[saved["line"] == "fedavg"]
    assert own["label_fraction"].tolist() == [0.01, 0.1, 1.0]
    assert own["value"].tolist() == [12, 10, 8] and own["high"].tolist() == [13, 11, 9]


def test_a_study_that_varies_nothing_has_no_picture(tmp_path: Path) -> None:
    study = write_made_study(tmp_path / "study")
    written = list(export([study], TableFormat.CSV, predictions=False, out=None))
    assert label_tables(read_parts(study)) == {}
    assert "share of labels" not in (study / "report.html").read_text(encoding="utf-8")
    assert not [path for path in written if path.name.startswith("label-fraction")]
