"""Rows and bars of the learning benchmark, from figures that are made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from benchmarks._kept import keep, kept
from benchmarks._rows import Row
from benchmarks.learning import FILE, PAGE, TABLE, main
from benchmarks.learning_order import scored
from benchmarks.learning_pieces import Where
from benchmarks.learning_places import key
from benchmarks.learning_recipe import load_recipe
from benchmarks.learning_results import COLUMNS, CPU, Results, interval
from benchmarks.learning_table import rows_of, table_of

RECIPE = load_recipe()
DRAWN = RECIPE.drawn
#: Student's t of seven degrees of freedom, 0.975.
T7 = 2.364624
#: Of eight values that lie 1 above and below their mean by turns: deviation over the root of 8.
SPREAD = (8 / 7) ** 0.5 / 8**0.5
#: Arm -> mean of its eight draws, and how far each lies above or below it by turns.
ARMS = {
    "floor-10": (0.05, 0.0),
    "floor-100": (0.25, 0.0),
    "random-10": (0.20, 0.0),
    "random-100": (0.55, 0.0),
    "pixels-10": (0.30, 0.02),
    "pixels-100": (0.60, 0.02),
    "cells-10": (0.35, 0.04),
    "latent-10": (0.36, 0.0),
    "latent-100": (0.62, 0.0),
    "pooled-random-100": (0.60, 0.0),
    "frozen-random": (0.10, 0.0),
    "frozen-pixels": (0.20, 0.0),
    "frozen-latent": (0.22, 0.05),
    "ceiling": (0.90, 0.0),
    "pixels-100-without-deviation": (0.50, 0.0),
}


def table(
    arms: Mapping[str, tuple[float, float]], draws: int = 8, where: str = Where.HELD_OUT
) -> pd.DataFrame:
    rows = []
    for draw in range(draws):
        sign = 1 if draw % 2 else -1
        for arm, (mean, spread) in arms.items():
            for hospital, off in (("all", 0.0), ("emergency", 0.01), ("valley", -0.01)):
                for truth, less in (("exact", 0.0), ("reader", 0.05)):
                    value = mean + sign * spread + off - less
                    head = (draw, arm, where, hospital, truth)
                    rows.append((*head, "r2", value, 120, "k"))
                    rows.append((*head, "mae", 6.0, 120, "k"))
                    rows.append((*head, "pearson", 0.8, 120, "k"))
        for start, seconds in (("pixels", 400.0), ("cells", 380.0), ("latent", 440.0)):
            rows.append((draw, f"pretraining-{start}", "", "", "", CPU, seconds, 0, "k"))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def judged(rows: list[Row]) -> dict[str, bool | None]:
    return {row.what: row.holds for row in rows if row.bar}


def test_an_interval_over_draws_is_students() -> None:
    """1, 2, 3: standard error 1 / sqrt(3), t of two degrees of freedom 4.3027."""
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.high - found.mean == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert found.mean - found.low == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert interval([0.7]).mean == 0.7
    assert interval([0.7]).low != interval([0.7]).low  # NaN


def test_all_bars_hold_where_there_is_headroom_and_pre_training_is_worth_it() -> None:
    rows = rows_of(Results(table(ARMS)), DRAWN)
    assert judged(rows) == {
        "EF R2, floor without a network, 100 % of labels": True,
        "EF R2, random init, pooled, 100 %": True,
        "EF R2, ceiling: ten times the patients, random init": True,
        "EF R2, pixels less none, 10 %: low end of the 95% interval": True,
        "EF R2, frozen probe, latent less pixels": True,
    }
    found = {row.what: row for row in rows}
    assert found["EF R2, floor without a network, 100 % of labels"].ours == pytest.approx(0.25)
    few = found["EF R2, pixels less none, 10 %: low end of the 95% interval"].ours
    assert few == pytest.approx(0.10 - T7 * SPREAD * 0.02)
    other = found["EF R2, cells less none, 10 %: low end of the 95% interval"]
    assert (other.ours, other.holds) == (pytest.approx(0.15 - T7 * SPREAD * 0.04), None)
    low = found["EF R2, frozen probe, latent less pixels: low end"].ours
    assert low == pytest.approx(0.02 - T7 * SPREAD * 0.05)
    assert found["EF R2, pixels less none, 100 %: low end of the 95% interval"].holds is None
    part = found["EF R2, compact STF-Net less the same without deviation"].ours
    assert part == pytest.approx(0.10)
    assert found["CPU seconds of pre-training, latent beside pixels"].ratio == pytest.approx(1.1)
    assert not [what for what in found if "summit" in what]


@pytest.mark.parametrize(
    ("arm", "value", "missed"),
    [
        ("floor-100", (0.31, 0.0), ["floor without a network"]),
        ("pooled-random-100", (0.66, 0.0), ["random init, pooled"]),
        ("ceiling", (0.84, 0.0), ["ceiling"]),
        # Half an interval of 0.9 about a gain of 0.3: zero is in it.
        ("pixels-10", (0.50, 1.0), ["pixels less none, 10 %"]),
        ("pixels-10", (0.15, 0.0), ["pixels less none, 10 %"]),
        ("frozen-latent", (0.19, 0.0), ["frozen probe, latent less pixels"]),
    ],
)
def test_a_bar_is_missed_alone(arm: str, value: tuple[float, float], missed: list[str]) -> None:
    rows = rows_of(Results(table({**ARMS, arm: value})), DRAWN)
    found = [what for what, holds in judged(rows).items() if not holds]
    assert len(found) == len(missed)
    assert all(part in what for part, what in zip(missed, found, strict=True))


def test_a_figure_that_is_missing_misses_its_bar() -> None:
    part = {arm: value for arm, value in ARMS.items() if arm != "ceiling"}
    found = judged(rows_of(Results(table(part)), DRAWN))
    assert [what for what, holds in found.items() if not holds] == [
        "EF R2, ceiling: ten times the patients, random init"
    ]


def test_differences_are_of_the_same_draws() -> None:
    """A random init that swings as the pre-trained one does leaves no spread in their difference;
    an arm of three draws is set beside the same three of the other."""
    together = {**ARMS, "random-10": (0.20, 0.02)}
    results = Results(table(together))
    assert results.differences("pixels-10", "random-10") == pytest.approx([0.1] * 8)
    part = table({"pixels-100-published": (0.5, 0.0)}, draws=3)
    results = Results(pd.concat([table(ARMS), part[part["metric"] != CPU]]))
    found = results.differences("pixels-100", "pixels-100-published")
    assert found == pytest.approx([0.08, 0.12, 0.08])


def test_fewer_draws_judge_nothing_and_one_has_no_interval() -> None:
    for draws in (7, 1):
        rows = rows_of(Results(table(ARMS, draws)), DRAWN)
        assert rows
        assert judged(rows) == {}
    assert not [row for row in rows if "low end" in row.what]


def test_a_table_that_is_not_whole_judges_nothing() -> None:
    rows = rows_of(Results(table(ARMS)), DRAWN, judge=False)
    assert judged(rows) == {}
    assert [row.what for row in rows] == [row.what for row in rows_of(Results(table(ARMS)), DRAWN)]


def test_the_table_has_every_arm_and_every_draw() -> None:
    lines = table_of(Results(table(ARMS)), DRAWN).splitlines()
    arm = next(line for line in lines if line.startswith("  pixels-10 "))
    half = T7 * SPREAD * 0.02
    assert arm.split() == [
        "pixels-10", "0.300", f"{0.3 - half:.3f}", "to", f"{0.3 + half:.3f}",
        "0.310", "0.290", "0.250", "6.000", "0.800", *["0.280", "0.320"] * 4,
    ]  # fmt: skip
    assert sum(line.startswith(f"  {name} ") for line in lines for name in ARMS) >= len(ARMS)
    gain = next(line for line in lines if line.startswith("  pixels-10 less random-10"))
    assert gain.split()[3:] == [
        "0.100", f"{0.1 - half:.3f}", "to", f"{0.1 + half:.3f}", *["0.080", "0.120"] * 4,
    ]  # fmt: skip
    assert any("pixels-100 less pixels-100-without-deviation" in line for line in lines)


def test_one_draw_has_no_interval() -> None:
    text = table_of(Results(table(ARMS, 1)), DRAWN)
    assert "nan" not in text and "0.280          one draw" in text


def test_the_sealed_hospital_is_shown_where_it_was_opened_and_changes_no_other_row() -> None:
    held = table(ARMS)
    sealed = table({**ARMS, "floor-100": (0.99, 0.0)}, where=Where.SEALED)
    both = Results(pd.concat([held, sealed[sealed["metric"] != CPU]]))
    rows = rows_of(both, DRAWN)
    opened = [row for row in rows if row.what.startswith("summit")]
    assert opened[0].ours == pytest.approx(0.99)
    assert not judged(opened)
    assert [row for row in rows if row not in opened] == rows_of(Results(held), DRAWN)
    assert "sealed patients" in table_of(both, DRAWN)
    assert "sealed patients" not in table_of(Results(held), DRAWN)


def test_what_is_kept_holds_every_figure_and_is_judged_alike(tmp_path: Path) -> None:
    made = table(ARMS)
    rows = rows_of(Results(made), DRAWN)
    keep(tmp_path / "kept.json", {"made by": "a test"}, rows, {TABLE: made})
    context, tables = kept(tmp_path / "kept.json")
    assert context == {"made by": "a test"}
    pd.testing.assert_frame_equal(tables[TABLE], made, check_exact=False, atol=1e-9)
    assert judged(rows_of(Results(tables[TABLE]), DRAWN)) == judged(rows)


def test_going_on_loses_nothing_that_is_kept_of_the_sealed_hospital_though_it_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is trained, and ``--out`` has nothing; figures of another recipe go."""
    head = ("all", "exact", "r2", 0.5, 60)
    rows = [
        (piece.draw, piece.arm, piece.where.value, *head, key(piece, RECIPE)[:12])
        for piece in scored(RECIPE, sealed=True)[:12]
    ]
    made = pd.DataFrame(rows, columns=list(COLUMNS))
    older = made.assign(key="other")
    file = tmp_path / "kept.json"
    keep(file, {}, [], {TABLE: pd.concat([made, older])})
    monkeypatch.setattr("benchmarks.learning.FILE", file)
    monkeypatch.setattr("benchmarks.learning.PAGE", tmp_path / "kept.md")
    with pytest.raises(SystemExit, match="0"):
        main(["--so-far", "--go-on", "--keep", "--out", str(tmp_path / "out")])
    found = kept(file)[1][TABLE]
    pd.testing.assert_frame_equal(found, made, check_dtype=False)
    assert (found["where"] == Where.SEALED).sum() == 6


@pytest.mark.skipif(not FILE.exists(), reason="no whole table is kept yet")
def test_the_kept_figures_are_those_of_the_page() -> None:
    _, tables = kept(FILE)
    assert table_of(Results(tables[TABLE]), DRAWN) in PAGE.read_text(encoding="utf-8")
