"""What the learning benchmark prints: arms, differences, and the rows that are held to bars."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchmarks._rows import Bar, Row
from benchmarks.learning_order import ABLATIONS
from benchmarks.learning_pieces import Tuning, Where
from benchmarks.learning_recipe import OBJECTIVES, Drawn, Start
from benchmarks.learning_results import COVERAGE, Results, interval
from echofm_core.phantom.hospitals import HELD_OUT, SEALED

#: Draws without which nothing is judged.
ENOUGH_DRAWS = 8
MOST_FLOOR, MOST_RANDOM, LEAST_CEILING = 0.3, 0.65, 0.85
#: Longest name of an arm, and more.
NAME_WIDTH = 34


def rows_of(results: Results, drawn: Drawn, *, judge: bool = True) -> list[Row]:
    """Every row; without bars where there are fewer draws than :data:`ENOUGH_DRAWS`.

    What has a bar stays where it has no figure, and misses it.

    Args:
        results: Of the arms that there are.
        drawn: Says which objective is judged.
        judge: False: without bars, as of a table that is not whole.
    """
    rows = [
        *_levels(results, drawn),
        *_gains(results, drawn),
        *_frozen(results),
        *_ablation(results, drawn),
        *_seconds(results),
        *_sealed(results, drawn),
    ]
    if results.draws < ENOUGH_DRAWS or not judge:
        rows = [Row(row.what, row.ours, row.peer) for row in rows]
    return [row for row in rows if row.bar or not math.isnan(row.ours)]


def _levels(results: Results, drawn: Drawn) -> Iterator[Row]:
    """How hard the patients are."""
    few, every = drawn.percents
    for arm, what, bar in (
        (f"floor-{every}", f"floor without a network, {every} % of labels", most(MOST_FLOOR)),
        (f"floor-{few}", f"floor without a network, {few} %", None),
        (f"pooled-random-{every}", f"random init, pooled, {every} %", most(MOST_RANDOM)),
        (f"random-{every}", f"random init, federated, {every} %", None),
        (f"random-{few}", f"random init, federated, {few} %", None),
        ("ceiling", "ceiling: ten times the patients, random init", Bar("at least", LEAST_CEILING)),
    ):
        yield Row(f"EF R2, {what}", mean(results, arm), bar=bar)


def _gains(results: Results, drawn: Drawn) -> Iterator[Row]:
    """Federated pre-training, then federated fine-tuning, less fine-tuning alone."""
    few, every = drawn.percents
    for start in OBJECTIVES:
        for percent in (few, every):
            limit = 0 if start is drawn.objective and percent == few else None
            what = f"{start} less none, {percent} %"
            yield from _difference(results, f"{start}-{percent}", f"random-{percent}", what, limit)


def _frozen(results: Results) -> Iterator[Row]:
    """Ridge regression on features of an encoder that stays as it was."""
    for start in Start:
        yield Row(f"EF R2, frozen probe, {start}", mean(results, f"frozen-{start}"))
    found = interval(results.differences("frozen-latent", "frozen-pixels"))
    yield Row("EF R2, frozen probe, latent less pixels", found.mean, bar=Bar("at least", 0))
    yield Row("EF R2, frozen probe, latent less pixels: low end", found.low)
    yield Row("EF R2, frozen probe, latent less pixels: high end", found.high)


def _ablation(results: Results, drawn: Drawn) -> Iterator[Row]:
    """What another STF-Net would lose, with all labels."""
    whole = Tuning(start=drawn.objective).name
    for form, without in ABLATIONS:
        arm = Tuning(start=drawn.objective, form=form, without=without).name
        found = interval(results.differences(whole, arm))
        what = arm.removeprefix(f"{whole}-").replace("-", " ")
        yield Row(f"EF R2, compact STF-Net less the same {what}", found.mean)


def _seconds(results: Results) -> Iterator[Row]:
    """What the objectives took."""
    pixels = interval(results.seconds(Start.PIXELS)).mean
    for start in (Start.CELLS, Start.LATENT) if not math.isnan(pixels) else ():
        took = interval(results.seconds(start)).mean
        yield Row(f"CPU seconds of pre-training, {start} beside pixels", took, pixels)


def _sealed(results: Results, drawn: Drawn) -> Iterator[Row]:
    """The sealed hospital, where it was opened; no bar is held to it."""
    few, every = drawn.percents
    for arm in (f"floor-{every}", f"pooled-random-{every}", "ceiling"):
        yield Row(f"{SEALED.name}: EF R2, {arm}", mean(results, arm, Where.SEALED))
    for start in OBJECTIVES:
        for percent in (few, every):
            arm, other = f"{start}-{percent}", f"random-{percent}"
            found = interval(results.differences(arm, other, Where.SEALED))
            what = f"{SEALED.name}: EF R2, {start} less none, {percent} %"
            yield Row(what, found.mean)
            yield Row(f"{what}: low end", found.low)


def _difference(
    results: Results, arm: str, other: str, what: str, limit: float | None
) -> Iterator[Row]:
    """Mean and low end of a paired difference; the low end is judged."""
    found = interval(results.differences(arm, other))
    bar = None if limit is None else Bar("at least", limit)
    yield Row(f"EF R2, {what}", found.mean)
    yield Row(f"EF R2, {what}: low end of the {COVERAGE:.0%} interval", found.low, bar=bar)


def most(limit: float) -> Bar:
    """At most so much."""
    return Bar("at most", limit)


def mean(results: Results, arm: str, where: str = Where.HELD_OUT) -> float:
    """EF R2 of an arm over the draws; NaN where it has none."""
    return interval(list(results.values(arm, where=where).values())).mean


def table_of(results: Results, drawn: Drawn) -> str:
    """Arms, then differences, each with the value of every draw; the sealed hospital last."""
    lines = _arms(results, Where.HELD_OUT, HELD_OUT)
    lines += _differences(results, Where.HELD_OUT, drawn)
    if (results.table["where"] == Where.SEALED).any():
        lines += ["", *_arms(results, Where.SEALED, ())]
        lines += _differences(results, Where.SEALED, drawn)
    return "\n".join(lines)


def _arms(results: Results, where: Where, hospitals: Sequence[str]) -> list[str]:
    """One line an arm: R2, its interval over draws, other figures, and R2 of each draw."""
    names = (*hospitals, "reader", "MAE", "r")
    lines = [
        f"EF R2 on {where.replace('_', ' ')} patients: mean, {COVERAGE:.0%} interval over draws; "
        "then means of others; one a draw",
        f"  {'':{NAME_WIDTH}}{'R2':>7}{'':18}" + "".join(f"{name:>11}" for name in names),
    ]
    for arm in results.arms:
        each = list(results.values(arm, where=where).values())
        if not each:
            continue
        others = [
            *(results.values(arm, where=where, hospital=name) for name in hospitals),
            results.values(arm, where=where, truth="reader"),
            results.values(arm, "mae", where=where),
            results.values(arm, "pearson", where=where),
        ]
        cells = "".join(f"{interval(list(found.values())).mean:11.3f}" for found in others)
        lines.append(f"  {arm:{NAME_WIDTH}}{_interval(each)}{cells}   {_each(each)}")
    return lines


def _differences(results: Results, where: Where, drawn: Drawn) -> list[str]:
    """Paired differences of EF R2."""
    few, every = drawn.percents
    pairs = [
        (f"{start}-{percent}", f"random-{percent}")
        for percent in (few, every)
        for start in OBJECTIVES
    ]
    pairs += [
        (f"{start}-{percent}", f"pixels-{percent}")
        for percent in (few, every)
        for start in (Start.CELLS, Start.LATENT)
    ]
    pairs += [(f"frozen-{start}", "frozen-pixels") for start in (Start.CELLS, Start.LATENT)]
    pairs += [(f"frozen-{start}", "frozen-random") for start in OBJECTIVES]
    pairs += [(f"random-{every}", f"pooled-random-{every}")]
    whole = Tuning(start=drawn.objective).name
    pairs += [(whole, arm) for arm in results.arms if arm.startswith(f"{whole}-")]
    lines = ["", f"EF R2, differences of the same draws: mean, {COVERAGE:.0%} interval; one a draw"]
    for arm, other in pairs:
        if each := results.differences(arm, other, where):
            lines.append(
                f"  {f'{arm} less {other}':{2 * NAME_WIDTH}}{_interval(each)}   {_each(each)}"
            )
    return lines


def _interval(values: Sequence[float]) -> str:
    found = interval(values)
    ends = f"{found.low:8.3f} to {found.high:6.3f}" if len(values) > 1 else f"{'one draw':>18}"
    return f"{found.mean:7.3f}{ends}"


def _each(values: Sequence[float]) -> str:
    return " ".join(f"{value:6.3f}" for value in values)
