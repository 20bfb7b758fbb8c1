"""What pre-training and STF-Net are worth, on SYNTHETIC patients: EF, volumes, reduced EF, AS.

``python -m benchmarks.learning``: {random weights, MAE} x {mean pool, STF-Net compact, STF-Net in
the published shape} x {encoder frozen, all trained}, and shares of the labels, over several seeds,
through the code that ``echofm pretrain`` and ``echofm finetune`` run. Killed and called again, it
goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from benchmarks._rows import Row, finish, lines_of, parser
from benchmarks._timing import machine
from benchmarks.learning_arms import Arm, few_arms, recipe, whole_table
from benchmarks.learning_clock import Cost
from benchmarks.learning_data import Phantoms, write_and_decode
from benchmarks.learning_table import Results, rows_of, table_of
from benchmarks.learning_work import cost_of_all, run_all
from echofm_core.plan import Plan

#: Where ``--keep`` leaves the figures: ``learning.json`` and, to read, ``learning.md``.
KEPT = Path(__file__).parent / "results"
TITLE = "What MAE pre-training and STF-Net are worth, on SYNTHETIC patients"
NOTE = """\
The figures compare arms on SYNTHETIC patients; they say nothing of people.
An arm is START-FUSION-MODE-PERCENT: random or MAE-pre-trained encoder; mean pooling, compact or
published STF-Net; all weights trained (full) or the encoder kept as it was (frozen); percent of
the training patients with labels. Behind a frozen encoder STF-Net is trained with the heads, since
with random weights it would say nothing of itself; with mean pooling the heads alone are (linear).
The encoder sees the patches that touch the ultrasound sector, in every arm; the published STF-Net,
which needs the whole grid, is given zeros at the other places.
All arms share one recipe, benchmarks/learning.toml, and take as many steps. The last round counts:
no round is chosen by labels. Three seeds draw weights, order, masks and who has labels; where the
gain of MAE is compared, with 5, 10 and 100 % behind the compact STF-Net, eight do: who the few are
moves a figure by more than that gain. Arms are set beside each other on the three that all have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much is trained."""

    arms: Callable[[Iterable[int]], list[Arm]]
    phantoms: Phantoms
    recipe: Plan


def run(scale: Scale, seeds: int, folder: Path, workers: int) -> tuple[list[Arm], pd.DataFrame]:
    """Train what is not trained yet.

    Returns:
        The arms, and their scores: seed, arm, task, metric, value, low, high, plan.
    """
    arms = scale.arms(range(seeds))
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


def keep(
    folder: Path, told: Mapping[str, str], scores: pd.DataFrame, rows: Sequence[Row], table: str
) -> None:
    """Write every figure with its seed, its plan's hash and what made it, and the table to read.

    In ``learning.json``, ``data`` holds a list a figure, in the order of ``columns``.
    """
    figures = {
        **told,
        "bars": [row.as_json() for row in rows],
        **json.loads(scores.round(5).to_json(orient="split", index=False)),
    }
    folder.mkdir(exist_ok=True)
    lines = json.dumps(figures).replace("], [", "],\n[")
    (folder / "learning.json").write_text(lines + "\n", encoding="utf-8")
    head = "\n".join(f"- {name}: {words}" for name, words in told.items())
    text = f"# {TITLE}\n\n{head}\n\n{NOTE}\n\n```\n{table}\n\n{lines_of(rows)}\n```\n"
    (folder / "learning.md").write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    scale = Scale(
        arms=few_arms if options.quick else whole_table,
        phantoms=Phantoms(echonet_dynamic=440, tmed2=160, seed=2),
        recipe=recipe(),
    )
    arms, scores = run(scale, options.seeds, options.out, options.workers)
    results = Results(arms, scores)
    rows, table = rows_of(results), table_of(results)
    if options.quick:  # a bar held or missed by one seed is chance
        rows = [replace(row, bar=None) for row in rows]
    cost = cost_of_all(arms, scale.recipe, options.out)
    told = conditions(scale, cost, options.workers)
    head = "\n".join(f"{name}: {words}" for name, words in told.items())
    print(TITLE, head, NOTE, table, sep="\n\n", end="\n\n")
    if options.keep:
        keep(KEPT, told, scores, rows, table)
    finish(rows, options.json)


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
    options = words.parse_args(arguments)
    options.seeds = options.seeds or (1 if options.quick else 3)
    options.out = options.out or Path("runs") / ("learning-quick" if options.quick else "learning")
    return options


if __name__ == "__main__":
    main()
