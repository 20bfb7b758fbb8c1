"""What pre-training and STF-Net are worth, on SYNTHETIC patients: EF, volumes, reduced EF, AS.

``python -m benchmarks.learning``: {random weights, MAE} x {mean pool, STF-Net compact, STF-Net in
the published shape} x {encoder frozen, all trained}, and shares of the labels, over several seeds,
through the code that ``echofm pretrain`` and ``echofm finetune`` run. Killed and called again, it
goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from benchmarks._rows import finish, parser
from benchmarks._timing import machine
from benchmarks.learning_arms import Arm, few_arms, recipe, whole_table
from benchmarks.learning_clock import Cost
from benchmarks.learning_data import Phantoms, write_and_decode
from benchmarks.learning_kept import KEPT, NOTE, TITLE, keep, kept, renewed
from benchmarks.learning_table import Results, rows_of, table_of
from benchmarks.learning_work import cost_of_all, run_all
from echofm_core.models.config import StfNetForm
from echofm_core.plan.document import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much is trained."""

    arms: Callable[[Iterable[int]], list[Arm]]
    phantoms: Phantoms
    recipe: Plan


def run(
    scale: Scale, seeds: int, folder: Path, workers: int, only: StfNetForm | None = None
) -> tuple[list[Arm], pd.DataFrame]:
    """Train what is not trained yet; with ``only``, of the arms with that fusion network.

    Returns:
        The arms, and their scores: seed, arm, task, metric, value, low, high, plan.
    """
    arms = [arm for arm in scale.arms(range(seeds)) if only in (None, arm.form)]
    write_and_decode(scale.phantoms, scale.recipe, folder)
    return arms, run_all(arms, scale.recipe, folder, workers)


def conditions(scale: Scale, cost: Cost, workers: int) -> dict[str, str]:
    """What the figures were made of and with."""
    people = scale.phantoms
    return {
        "made by": "python -m benchmarks.learning",
        "patients": f"SYNTHETIC: {people.echonet_dynamic} in EchoNet-Dynamic's layout, "
        f"{people.tmed2} in TMED-2's; a quarter of each is for the test",
        "cost": f"{cost.cpu / 60:.0f} CPU minutes; {cost.wall / 60 / workers:.0f} minutes of "
        f"{workers} workers, of one thread each, on a machine that may have had other work",
        "machine": machine(("echofm-federated", "torch", "timm", "numpy")),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    scale = Scale(
        arms=few_arms if options.quick else whole_table,
        phantoms=Phantoms(echonet_dynamic=440, tmed2=160, seed=2),
        recipe=recipe(),
    )
    context, arms, scores = _figures(scale, options)
    results = Results(arms, scores)
    rows, table = rows_of(results), table_of(results)
    if options.quick:  # a bar held or missed by one seed is chance
        rows = [replace(row, bar=None) for row in rows]
    head = "\n".join(f"{name}: {words}" for name, words in context.items())
    print(TITLE, head, NOTE, table, sep="\n\n", end="\n\n")
    if options.keep:
        keep(KEPT, context, scores, rows, table)
    finish(rows, options.json)


def _figures(
    scale: Scale, options: argparse.Namespace
) -> tuple[dict[str, str], list[Arm], pd.DataFrame]:
    """Conditions, arms and scores: trained now, kept, or kept with some trained now."""
    if options.kept:
        context, scores = kept(KEPT)
        return context, scale.arms(range(options.seeds)), scores
    arms, scores = run(scale, options.seeds, options.out, options.workers, options.only)
    cost = cost_of_all(arms, scale.recipe, options.out)
    context = conditions(scale, cost, options.workers)
    if options.only is None:
        return context, arms, scores
    before, old = kept(KEPT)
    again = f"trained anew, {context['cost']}"
    return (
        {**before, f"arms with {options.only}": again},
        scale.arms(range(options.seeds)),
        renewed(old, scores),
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    words = parser(str(__doc__).splitlines()[0])
    words.add_argument("--quick", action="store_true", help="one seed and few arms; no bars")
    words.add_argument("--out", type=Path, metavar="FOLDER", help="data and run folders")
    words.add_argument(
        "--seeds", type=int, metavar="N",
        help="how many; 3, where few labels are judged 8; or 1 with --quick",
    )  # fmt: skip
    words.add_argument("--workers", type=int, default=2, help="arms at a time, one thread each")
    words.add_argument("--keep", action="store_true", help="write benchmarks/results/")
    words.add_argument("--kept", action="store_true", help="train nothing, judge what is kept")
    words.add_argument(
        "--only", type=StfNetForm, choices=list(StfNetForm), metavar="FORM",
        help="train the arms with this STF-Net alone, and set them among the figures kept",
    )  # fmt: skip
    options = words.parse_args(arguments)
    if options.quick and (options.kept or options.only):
        words.error(
            "what is kept is of the whole table: --quick goes with neither --kept nor --only"
        )
    options.seeds = options.seeds or (1 if options.quick else 3)
    options.out = options.out or Path("runs") / ("learning-quick" if options.quick else "learning")
    return options


if __name__ == "__main__":
    main()
