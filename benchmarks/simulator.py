"""CPU seconds and memory of our simulator, of a plain loop, and of Flower's Ray backend.

``python -m benchmarks.simulator``: each contestant runs in its own process, one after the other, on
the workloads of ``benchmarks/workloads.py``. CPU is user + system of the whole process tree,
imports included. Then one run on ``wire`` with a clock on each part, a tiny model at 10, 100 and
1,000 sites, and memory over 100 rounds. Ray is skipped where it is not installed
(``pip install -e ".[ray]"``).
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks._kept import KEPT, head_of, keep, kept, page_of
from benchmarks._rows import finish, parser
from benchmarks.simulator_measure import QUICK, Figures, Scale, conditions, measured, with_ray
from benchmarks.simulator_table import rows_of, table_of

FILE = KEPT / "simulator.json"
TITLE = "What the simulator takes beside a plain loop and Flower's Ray backend"
NOTE = """\
`small` trains a CNN of 136 k parameters, `wire` moves 22 M by a constant, so that it is the
framework that is measured; `tiny` does so with 1,100. The plain loop adds arrays up in one process
and does nothing else: no messages, no checks, no records. Ours is the server's round loop, Flower's
ServerApp and ClientApp, and the engine of `echofm simulate`. CPU and memory are of the whole
process tree, imports included; with repetitions, medians. Where our CPU goes is from one more run
with a clock on each part. The exponent is a least-squares fit to CPU seconds of the rounds alone.
The 100 rounds keep journal and checkpoints; the slope is a least-squares fit to resident memory
after each round but the first fifth."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    if options.kept:
        _show(*kept(FILE), options)
        return
    context, figures = conditions(), measured(QUICK if options.quick else Scale())
    if importlib.util.find_spec("ray") is None:
        print('Flower + Ray: not measured, ray is not installed (pip install -e ".[ray]")')
    elif not options.quick:
        if options.keep:  # the rest takes long
            _keep(context, figures)
        figures = with_ray(figures)
    if options.keep:
        _keep(context, figures)
    _show(context, figures, options)


def _keep(context: Mapping[str, str], figures: Figures) -> None:
    rows = rows_of(figures)
    keep(FILE, context, rows, figures)
    page = page_of(TITLE, context, NOTE, table_of(figures), rows)
    FILE.with_suffix(".md").write_text(page, encoding="utf-8")


def _show(context: Mapping[str, str], figures: Figures, options: argparse.Namespace) -> None:
    """Print everything, and end the process by what is judged."""
    rows = rows_of(figures)
    if options.quick:
        rows = [replace(row, bar=None) for row in rows]
    print(TITLE, head_of(context), NOTE, table_of(figures), sep="\n\n", end="\n\n")
    finish(rows, options.json)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    words = parser(str(__doc__).splitlines()[0])
    words.add_argument("--quick", action="store_true", help="once, few sites and rounds; no bars")
    words.add_argument("--keep", action="store_true", help="write benchmarks/results/")
    words.add_argument("--kept", action="store_true", help="measure nothing, judge what is kept")
    options = words.parse_args(arguments)
    if options.quick and (options.kept or options.keep):
        words.error("--quick goes with neither --kept nor --keep: these are of the whole")
    if options.kept and not FILE.exists():
        words.error("nothing is kept yet: measure with --keep")
    return options


if __name__ == "__main__":
    main()
