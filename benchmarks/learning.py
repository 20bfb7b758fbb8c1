"""Is federated pre-training worth it before federated fine-tuning, at hospitals never seen?

``python -m benchmarks.learning``: eight draws of SYNTHETIC hospitals with headroom, each with its
own patients and seeds; six train, two are tested on exact EF. Starts {random, pixels, cells,
latent, wide} x labels {a tenth, all}, through the product's own server, client and engine; beside
them the floor without a network, pooled data, a ceiling, frozen features, and STF-Net without each
of its parts.
Killed and called again, it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks._kept import KEPT, head_of, keep, kept, page_of
from benchmarks._rows import finish, parser
from benchmarks._timing import machine
from benchmarks.learning_clock import Cost, cost_of
from benchmarks.learning_order import scored
from benchmarks.learning_pieces import Piece
from benchmarks.learning_places import place_of, with_needs
from benchmarks.learning_recipe import Recipe, load_recipe
from benchmarks.learning_results import Results, collect
from benchmarks.learning_table import rows_of, table_of
from benchmarks.learning_work import do_all

#: Where ``--keep`` leaves the figures, and the page to read.
FILE, PAGE = KEPT / "learning.json", KEPT / "learning.md"
#: Name of the table of figures in the file.
TABLE = "figures"
TITLE = "What federated pre-training and STF-Net are worth, on SYNTHETIC hospitals"
NOTE = """\
The figures compare arms on SYNTHETIC patients; they say nothing of people.
An arm is START-PERCENT: federated fine-tuning of all weights at six hospitals, with the compact
STF-Net, from random weights or from federated pre-training on all clips of the same hospitals
(normalised pixels, the mean grey of cells, or latent targets; wide: cells, also on clips of more
hospitals, which have no labels), with the labels of that percent of the labelled patients. All arms
take as many optimizer steps. pooled- is the same patients in one place, frozen- a ridge regression
on features of each stage of the encoder, with all labels, floor- one on the temporal deviation and
the mean of grey in a grid, and ceiling ten times the patients, of many more hospitals, pooled.
-without-PART leaves a part of STF-Net out, -with-grey shows heads the grey levels of fixed places,
which no other arm has, and -published is the form of the paper.
EF R2 is the coefficient of determination over the test patients of a draw, of both hospitals
together, against the EF that their hearts were drawn with; training knows a reader's measurement.
Each draw has patients and seeds of its own. An interval is Student's t over draws. One objective is
judged, in all draws; it was chosen before, on patients of other seeds. The others are trained in
fewer draws. The last round counts: no round is chosen by labels."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    recipe = load_recipe(quick=options.quick, draws=options.draws)
    if options.kept:
        context, tables = kept(FILE)
        table = tables[TABLE]
    else:
        context, table = run(recipe, options.out, options.workers, sealed=options.sealed)
    results, drawn = Results(table), recipe.drawn
    rows, text = rows_of(results, drawn), table_of(results, drawn)
    print(TITLE, head_of(context), NOTE, text, sep="\n\n", end="\n\n")
    if options.keep:
        keep(FILE, context, rows, {TABLE: table})
        PAGE.write_text(page_of(TITLE, context, NOTE, text, rows), encoding="utf-8")
    finish(rows, options.json)


def run(
    recipe: Recipe, folder: Path, workers: int, *, sealed: bool = False
) -> tuple[dict[str, str], pd.DataFrame]:
    """Do what is not done yet; the conditions and the table of figures."""
    pieces = with_needs(scored(recipe, sealed=sealed), recipe)
    do_all(pieces, recipe, folder, workers)
    return conditions(pieces, recipe, folder, workers), collect(pieces, recipe, folder)


def conditions(
    pieces: Sequence[Piece], recipe: Recipe, folder: Path, workers: int
) -> dict[str, str]:
    """What the figures were made of and with."""
    drawn, cost = recipe.drawn, Cost()
    for piece in pieces:
        cost += cost_of(place_of(piece, recipe, folder))
    first, last = drawn.seed(0), drawn.seed(drawn.draws - 1)
    return {
        "made by": "python -m benchmarks.learning",
        "patients": f"SYNTHETIC: {drawn.patients} at each of six hospitals, {drawn.labelled} of "
        f"them with labels, {drawn.more_patients} at each of {drawn.more_hospitals} without any, "
        f"and {drawn.test_patients} at each that is tested, in every draw",
        "seeds": f"{first} to {last}",
        "passes": _passes(recipe),
        "cost": f"{cost.cpu / 60:.0f} CPU minutes; {cost.wall / 60 / workers:.0f} minutes of "
        f"{workers} workers, of one thread each, on a machine that may have had other work",
        "machine": machine(("echofm-federated", "torch", "timm", "numpy")),
    }


def _passes(recipe: Recipe) -> str:
    """How long the objectives train, in rounds."""
    pixels = recipe.plan.pretrain.rounds
    cells = recipe.cells.get("rounds", pixels)
    wide = recipe.wide.get("rounds", cells)
    teacher = recipe.latent["teacher_rounds"]
    student = recipe.latent["rounds"] - teacher
    return (
        f"{pixels} rounds of pixels; {cells} of cells, {wide} where they are wide; {teacher} of a "
        f"teacher's pixels and {student} of latent"
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    words = parser(str(__doc__).splitlines()[0])
    words.add_argument("--quick", action="store_true", help="one small draw; no bars")
    words.add_argument("--out", type=Path, metavar="FOLDER", help="data and run folders")
    words.add_argument("--draws", type=int, metavar="N", help="fewer; then nothing is judged")
    words.add_argument("--workers", type=int, default=2, help="pieces at a time, a thread each")
    words.add_argument(
        "--sealed", action="store_true",
        help="open the sealed hospital too: once, for the figures that are published",
    )  # fmt: skip
    words.add_argument("--keep", action="store_true", help="write benchmarks/results/")
    words.add_argument("--kept", action="store_true", help="train nothing, judge what is kept")
    options = words.parse_args(arguments)
    if options.quick and (options.kept or options.keep or options.sealed):
        words.error("--quick goes with none of --kept, --keep, --sealed: it is of a small draw")
    if options.kept and not FILE.exists():
        words.error("nothing is kept yet: train the whole table with --keep")
    if options.draws is not None and options.draws < 1:
        words.error("--draws should be at least 1")
    options.out = options.out or Path("runs") / ("learning-quick" if options.quick else "learning")
    return options


if __name__ == "__main__":
    main()
