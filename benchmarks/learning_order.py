"""What the learning benchmark scores, in order: few labels, all, other objectives, the ablation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.learning_pieces import WITHOUT, Pool, Ridge, Scored, Scores, Tuning, Where
from benchmarks.learning_recipe import Recipe, Start
from echofm_core.models.config import StfNetForm, StfPart


def _other(part: StfPart) -> tuple[StfPart, ...]:
    """What is left out where it is asked what a part adds."""
    return () if part in WITHOUT else (*WITHOUT, part)


#: What fuses in an ablation: a part more or less than the other arms have, or another form.
ABLATIONS: tuple[tuple[StfNetForm, tuple[StfPart, ...]], ...] = (
    *((StfNetForm.COMPACT, _other(part)) for part in StfPart),
    (StfNetForm.PUBLISHED, ()),
)


def scored(recipe: Recipe, *, sealed: bool = False) -> list[Scored]:
    """Everything that has a score; with ``sealed`` each but the ablation also at that hospital.

    The objective that is judged comes first, draw by draw, so that a run that is cut off has whole
    draws of it.
    """
    drawn = recipe.drawn
    groups = [list(_judged(recipe, draw)) for draw in range(drawn.draws)]
    groups += [list(_every_label(recipe, draw)) for draw in _first(recipe, drawn.every_draws)]
    if drawn.ceiling_parts:
        ceiling = Tuning(pool=Pool.CEILING)
        groups.append([Scores(draw=draw, of=ceiling) for draw in range(drawn.draws)])
    groups += [list(_others(recipe, draw)) for draw in range(drawn.draws)]
    if sealed:
        groups = [[*group, *(replace(it, where=Where.SEALED) for it in group)] for group in groups]
    ablation = [
        Scores(draw=draw, of=piece)
        for draw in _first(recipe, drawn.ablation_draws)
        for piece in ablated(recipe, draw)
    ]
    return [*(piece for group in groups for piece in group), *ablation]


def ablated(recipe: Recipe, draw: int) -> list[Tuning]:
    """Fine-tunings with all labels, each with a part of STF-Net more or less, or published."""
    whole = Tuning(draw=draw, start=recipe.drawn.objective)
    return [replace(whole, form=form, without=without) for form, without in ABLATIONS]


def _judged(recipe: Recipe, draw: int) -> Iterator[Scored]:
    """The floors, and the judged objective beside random weights: few labels, and frozen."""
    for percent in recipe.drawn.percents:
        yield Ridge(draw=draw, percent=percent)
    for start in (Start.RANDOM, recipe.drawn.objective):
        yield Scores(draw=draw, of=Tuning(draw=draw, start=start, percent=recipe.drawn.percents[0]))
        yield Ridge(draw=draw, start=start)


def _every_label(recipe: Recipe, draw: int) -> Iterator[Scored]:
    """Trained on all labels: federated from either start, and pooled."""
    for start in (Start.RANDOM, recipe.drawn.objective):
        yield Scores(draw=draw, of=Tuning(draw=draw, start=start))
    yield Scores(draw=draw, of=Tuning(draw=draw, pool=Pool.POOLED))


def _first(recipe: Recipe, draws: int) -> range:
    """So many draws, of those that there are."""
    return range(min(draws, recipe.drawn.draws))


def _others(recipe: Recipe, draw: int) -> Iterator[Scored]:
    """Objectives that are not judged, with few labels and frozen."""
    few = min(recipe.drawn.percents)
    for start in recipe.drawn.others(draw):
        yield Scores(draw=draw, of=Tuning(draw=draw, start=start, percent=few))
        yield Ridge(draw=draw, start=start)
