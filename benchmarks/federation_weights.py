"""What equal steps and the weights of the shared trunk are worth, on SYNTHETIC patients.

``python -m benchmarks.federation_weights``: a federation of four institutions, of which one alone
has grades of aortic stenosis and is small. {One pass a round, as many steps at every site} x
{weights by clips, equal, by task family}, beside that site alone, over three seeds, through the
server, client and engine of `echofm simulate`. Killed and called again, it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks._rows import finish, parser
from benchmarks._timing import machine, one_thread
from benchmarks.federation_arms import SEEDS, all_arms
from benchmarks.federation_table import Figures, keep, kept, measured, rows_of, table_of
from benchmarks.federation_work import FURTHER, PATIENTS, run_all, write_and_decode


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    figures = kept() if options.kept else _trained(options)
    if figures is None:
        print(f"seed {options.seed} is trained; without --seed all are judged together")
        return
    rows, table = rows_of(figures), table_of(figures)
    print(table, end="\n\n")
    if options.keep:
        keep(figures, rows, table)
    finish(rows, options.json)


def _trained(options: argparse.Namespace) -> Figures | None:
    """Train what is not trained yet; None where that is one seed of several."""
    if not options.judge:
        one_thread()
        write_and_decode(options.out)
        run_all(all_arms(SEEDS if options.seed is None else (options.seed,)), options.out)
        if options.seed is not None:
            return None
    patients = ", ".join(f"{count} in the layout of {name}" for name, count in PATIENTS.items())
    context = {
        "made by": "python -m benchmarks.federation_weights",
        "patients": f"SYNTHETIC: {patients}; {sum(FURTHER.values())} further ones to test",
        "machine": machine(("echofm-federated", "torch", "numpy")),
    }
    return measured(context, options.out)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    words = parser(str(__doc__).splitlines()[0])
    words.add_argument(
        "--out", type=Path, metavar="FOLDER", default=Path("runs/federation-weights")
    )
    words.add_argument(
        "--seed", type=int, choices=SEEDS, help="train one alone, so that processes share the work"
    )
    words.add_argument("--judge", action="store_true", help="train nothing, judge what is there")
    words.add_argument("--keep", action="store_true", help="write benchmarks/results/")
    words.add_argument("--kept", action="store_true", help="train nothing, judge what is kept")
    return words.parse_args(arguments)


if __name__ == "__main__":
    main()
