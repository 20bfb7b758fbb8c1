"""What learning across institutions is worth, where nobody trained and where one took part.

``python -m benchmarks.federation``: eight SYNTHETIC hospitals with EF, of which two in turn are
never seen, and one site that alone has grades of aortic stenosis. FedAvg beside pooled data, each
site alone, their ensemble and no network; a few patients of who was left out; and FedAvg, FedProx
and SCAFFOLD on patients dealt by label. Killed and called again, it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks._kept import head_of
from benchmarks._rows import finish, parser
from benchmarks._timing import machine
from benchmarks.federation.figures import (
    FILE,
    Figures,
    figures_of,
    folds_of,
    load_figures,
    rows_of,
    shots_of,
)
from benchmarks.federation.plans import Recipe, load_recipe
from benchmarks.federation.studies import cost_of, estimate, predictions_of, train
from benchmarks.federation.table import table_of
from echofm_core.runtime.text import span

TITLE = "What learning across institutions is worth, on SYNTHETIC hospitals"
NOTE = """\
The figures compare methods on SYNTHETIC patients; they say nothing of people.
All train all weights from random ones, without pre-training: FedAvg as many steps at every site,
each site alone (local) as many as there, pooled data as many as all sites together. The ensemble is
the mean of what the sites' own models predict, no network a ridge regression on grey statistics, of
a site's own patients, and where that was left out of all others'. After "then", FedAvg is
fine-tuned on so many patients of the hospital that was left out. EF R2 is the coefficient of
determination against the EF that hearts were drawn with; training knows a reader's measurement.
Test patients are the same for all models and seeds.

Each bar is on one end of a 95 % interval, of three kinds. Low end at least 0: that the first of
the row is better must be shown. Low end at least -0.1, at the worst site: that FedAvg is at most
0.1 worse than the best model there must be shown. High end at least 0: that the first of the row is
worse must not be shown; with few patients that is easily met. The best single site, the best model
at the worst site, the better training there and the better of FedProx and SCAFFOLD are chosen on
these test patients: the first three against FedAvg, the last in favour of the rule.
The weights of the last round are tested."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    if options.kept:
        figures = load_figures()
    else:
        recipe = load_recipe(
            options.out, quick=options.quick, seeds=options.seeds, workers=options.workers
        )
        if options.dry_run:
            seconds = estimate(recipe)
            print(f"the whole benchmark: about {span(seconds)} on {options.workers} workers")
            return
        figures = run(recipe)
    rows, table = (
        rows_of(figures, judge=not options.quick and options.seeds is None),
        table_of(figures),
    )
    print(TITLE, head_of(figures.context), NOTE, table, sep="\n\n", end="\n\n")
    if options.keep:
        figures.save(TITLE, NOTE, table, rows)
    finish(rows, options.json)


def run(recipe: Recipe) -> Figures:
    """Train what is not trained yet; the figures."""
    train(recipe)
    return figures_of(predictions_of(recipe), recipe, conditions(recipe))


def conditions(recipe: Recipe) -> dict[str, str]:
    """What the figures were made of and with."""
    plan, cost, seeds = recipe.left_out, cost_of(recipe), recipe.seeds
    patients = plan.machine.phantoms.patients
    tune, (few, every) = plan.finetune, shots_of(recipe)
    return {
        "made by": "python -m benchmarks.federation",
        "patients": f"SYNTHETIC: {', '.join(f'{n} at {name}' for name, n in patients.items())}; "
        f"{plan.protocol.test_fraction:.0%} of each hospital's to test",
        "left out in turn": f"{' and '.join(folds_of(recipe))}, with {few} or all {every} of "
        "their other patients to fine-tune on",
        "training": f"{tune.rounds} rounds of {tune.local_steps} steps of a site, each of "
        f"{tune.batch_size} windows",
        "seeds": f"{seeds[0]} to {seeds[-1]}",
        "cost": f"trainings {cost['workers'] / 3600:.1f} hours of one worker; "
        f"{cost['studies'] / 3600:.1f} hours in all on {plan.machine.workers} workers, of one "
        "thread each, on a machine that may have had other work",
        "machine": machine(("echofm-federated", "torch", "timm", "numpy")),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    words = parser(str(__doc__).splitlines()[0])
    words.add_argument("--quick", action="store_true", help="one small seed; no bars")
    words.add_argument("--out", type=Path, metavar="FOLDER", help="data and studies")
    words.add_argument("--seeds", type=int, metavar="N", help="fewer; then nothing is judged")
    words.add_argument("--workers", type=int, default=2, help="sites at a time, a thread each")
    words.add_argument("--dry-run", action="store_true", help="write phantoms, print an estimate")
    words.add_argument("--keep", action="store_true", help="write benchmarks/results/")
    words.add_argument("--kept", action="store_true", help="train nothing, judge what is kept")
    options = words.parse_args(arguments)
    part = options.quick or options.seeds is not None
    if part and (options.kept or options.keep):
        words.error("--quick and --seeds go with neither --kept nor --keep: these are of the whole")
    if options.kept and not FILE.exists():
        words.error("nothing is kept yet: train the whole table with --keep")
    if options.seeds is not None and options.seeds < 1:
        words.error("--seeds should be at least 1")
    name = "federation-quick" if options.quick else "federation"
    options.out = options.out or Path("runs") / name
    return options


if __name__ == "__main__":
    main()
