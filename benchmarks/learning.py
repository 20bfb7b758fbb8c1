"""Is federated pre-training worth it before federated fine-tuning, at hospitals never seen?

``python -m benchmarks.learning``: eight draws of SYNTHETIC hospitals with headroom, each with its
own patients and seeds; six train, two are tested on exact EF. Starts {random, pixels, cells,
latent} with a tenth of the labels, through the product's own server, client and engine; beside them
all labels, the floor without a network, pooled data, a ceiling, frozen features, and STF-Net
without each of its parts.
Killed and called again, it goes on; with ``--go-on`` behind what is kept in ``benchmarks/results``,
so that hours may be spent on one machine and the others on the next.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks._kept import KEPT, head_of, keep, kept, page_of
from benchmarks._rows import finish, parser
from benchmarks._timing import machine
from benchmarks.learning_order import scored
from benchmarks.learning_pieces import Where
from benchmarks.learning_places import with_needs
from benchmarks.learning_recipe import Recipe, load_recipe
from benchmarks.learning_results import Results, collect, left
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
(normalised pixels, the mean grey of cells, or latent targets), with the labels of that percent of
the labelled patients. All arms take as many optimizer steps. pooled- is the same patients in one
place, frozen- a ridge regression on features of each stage of the encoder, with all labels, floor-
one on the temporal deviation and the mean of grey in a grid, and ceiling ten times the patients, of
many more hospitals, pooled.
-without-PART leaves a part of STF-Net out, -with-grey shows heads the grey levels of fixed places,
which no other arm has, and -published is the form of the paper.
EF R2 is the coefficient of determination over the test patients of a draw, of both hospitals
together, against the EF that their hearts were drawn with; training knows a reader's measurement.
Each draw has patients and seeds of its own. An interval is Student's t over draws. One objective is
judged, in all draws, with few labels; it is the default of a plan. The others, and all labels, are
trained in fewer draws. The last round counts: no round is chosen by labels."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    recipe = load_recipe(quick=options.quick, draws=options.draws)
    context, table = _kept() if options.kept or options.go_on else ({}, None)
    if table is None or options.go_on:
        workers = 0 if options.so_far else options.workers
        # What is kept of the sealed hospital stays.
        options.sealed |= table is not None and bool((table["where"] == Where.SEALED).any())
        table = run(recipe, options.out, workers, sealed=options.sealed, before=table)
        context = conditions(table, recipe, options, context)
    results, drawn = Results(table), recipe.drawn
    whole = not left(scored(recipe), recipe, table)
    rows, text = rows_of(results, drawn, judge=whole), table_of(results, drawn)
    print(TITLE, head_of(context), NOTE, text, sep="\n\n", end="\n\n")
    if options.keep:
        keep(FILE, context, rows, {TABLE: table})
        PAGE.write_text(page_of(TITLE, context, NOTE, text, rows), encoding="utf-8")
    finish(rows, options.json)


def run(
    recipe: Recipe,
    folder: Path,
    workers: int,
    *,
    sealed: bool = False,
    before: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Do what is not done yet; the table of figures.

    Args:
        recipe: What is done.
        folder: Has a folder for each piece.
        workers: Processes; none: nothing more is done.
        sealed: Open the sealed hospital too.
        before: Figures of an earlier run; what has its scores there is done.
    """
    wanted = scored(recipe, sealed=sealed)
    if workers:
        todo = wanted if before is None else left(wanted, recipe, before)
        do_all(with_needs(todo, recipe), recipe, folder, workers)
    return collect(with_needs(wanted, recipe), recipe, folder, before)


def _kept() -> tuple[dict[str, str], pd.DataFrame]:
    context, tables = kept(FILE)
    return context, tables[TABLE]


def conditions(
    table: pd.DataFrame, recipe: Recipe, options: argparse.Namespace, earlier: Mapping[str, str]
) -> dict[str, str]:
    """What the figures were made of and with, some of them in an earlier run."""
    drawn, cost = recipe.drawn, Results(table).cost()
    first, last = drawn.seed(0), drawn.seed(drawn.draws - 1)
    wanted = scored(recipe, sealed=options.sealed)
    missing = len(left(wanted, recipe, table))
    here = machine(("echofm-federated", "torch", "timm", "numpy"))
    machines = dict.fromkeys([*filter(None, earlier.get("machine", "").split("; then ")), here])
    return {
        "made by": "python -m benchmarks.learning",
        "patients": f"SYNTHETIC: {drawn.patients} at each of six hospitals, {drawn.labelled} of "
        f"them with labels, and {drawn.test_patients} at each that is tested, in every draw",
        "seeds": f"{first} to {last}",
        "passes": _passes(recipe),
        "finished": f"{len(wanted) - missing} of {len(wanted)} scores"
        + (": nothing is judged yet" if missing else ""),
        "cost": f"{cost.cpu / 60:.0f} CPU minutes; {cost.wall / 60 / options.workers:.0f} minutes "
        f"of {options.workers} workers, of one thread each, on a machine that may have had other "
        "work",
        "machine": "; then ".join(machines),
    }


def _passes(recipe: Recipe) -> str:
    """How long the objectives train, in rounds."""
    pixels = recipe.plan.pretrain.rounds
    cells = recipe.cells.get("rounds", pixels)
    teacher = recipe.latent["teacher_rounds"]
    student = recipe.latent["rounds"] - teacher
    return (
        f"{pixels} rounds of pixels; {cells} of cells; {teacher} of a teacher's pixels and "
        f"{student} of latent"
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
    words.add_argument(
        "--go-on", action="store_true", help="take what is kept as done; with --keep, add to it"
    )
    words.add_argument(
        "--so-far", action="store_true", help="train nothing more, show what --out has"
    )
    options = words.parse_args(arguments)
    if options.quick and (options.kept or options.keep or options.sealed or options.go_on):
        words.error(
            "--quick goes with none of --kept, --keep, --go-on, --sealed: it is of a small draw"
        )
    if (options.kept or options.go_on) and not FILE.exists():
        words.error("nothing is kept yet: train the whole table with --keep")
    if options.keep and not (options.go_on or options.kept) and FILE.exists():
        words.error(f"{FILE} has figures that would be lost: add --go-on, or remove it")
    if options.draws is not None and options.draws < 1:
        words.error("--draws should be at least 1")
    options.out = options.out or Path("runs") / ("learning-quick" if options.quick else "learning")
    return options


if __name__ == "__main__":
    main()
