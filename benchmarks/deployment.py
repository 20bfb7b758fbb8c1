"""The deployed federation under load, and after a kill: real SuperLink, real SuperNodes, loopback.

``python -m benchmarks.deployment``: four pieces, each made of parts.

* ``wire``: arrays of a ViT-B at 2 sites that add noise; our round loop with its journal, in half
  and in single precision, beside Flower's stock FedAvg on the same SuperLink and nodes. Bytes are
  what a relay between nodes and SuperLink passes on; seconds run from the end of one round to that
  of the next; memory is resident.
* ``memory``: models that the server holds with 8 and 32 sites, as in ``benchmarks.server_memory``.
* ``small``: 8 sites with a small model, 50 rounds: whether memory grows, whether an update is lost.
* ``recovery``: seconds from the kill of a process until training goes on.

What is measured is kept part by part in ``benchmarks/results/deployment.json``: stopped and called
again, it goes on with the parts that the file lacks. A busy machine makes figures of no use.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import deployment_recovery, server_memory
from benchmarks._command import file_to_write
from benchmarks._rows import finish, parser
from benchmarks._timing import machine
from benchmarks.deployed_network import Case, measure
from benchmarks.deployment_table import Figures, keep, kept, rows_of
from benchmarks.peers.deployed_arrays import BASE

KEPT = Path(__file__).parent / "results" / "deployment.json"
QUICK_KEPT = Path("runs") / "deployment-quick.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        width, depth: Of the large arrays.
        compared, flat: Rounds in which contestants are compared; of ours in half precision, whose
            memory is watched.
        stub_sites, stub_parameters: Of the models that the server holds.
        small_sites, small_rounds: Of the small model.
    """

    width: int = BASE[0]
    depth: int = BASE[1]
    compared: int = 6
    flat: int = 20
    stub_sites: tuple[int, ...] = (8, 32)
    stub_parameters: int = 86_000_000
    small_sites: int = 8
    small_rounds: int = 50


QUICK = Scale(
    width=96, depth=2, compared=3, flat=3, stub_sites=(2,), stub_parameters=1_000_000,
    small_sites=2, small_rounds=3,
)  # fmt: skip


def parts_of(scale: Scale) -> dict[str, Callable[[], dict[str, Any]]]:
    """Part -> what measures it, in the order of a run; a part is called ``PIECE/PART``."""

    def crossing(contestant: str, rounds: int) -> Callable[[], dict[str, Any]]:
        case = Case(
            contestant=contestant, sites=2, rounds=rounds, width=scale.width, depth=scale.depth
        )
        return lambda: measure(case)

    def stub(sites: int) -> Callable[[], dict[str, Any]]:
        def held() -> dict[str, Any]:
            training, evaluation = server_memory.measured(sites, scale.stub_parameters)
            return {"sites": sites, "training": training, "evaluation": evaluation}

        return held

    small = Case(
        contestant="fp32", sites=scale.small_sites, rounds=scale.small_rounds, width=32, depth=1
    )
    return {
        "wire/flower": crossing("flower", scale.compared),
        "wire/fp32": crossing("fp32", scale.compared),
        "wire/fp16": crossing("fp16", scale.flat),
        **{f"memory/{sites}": stub(sites) for sites in scale.stub_sites},
        "small/sites": lambda: measure(small),
        "recovery/kills": deployment_recovery.measure,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    every = parts_of(QUICK if options.quick else Scale())
    parts = {
        name: part for name, part in every.items() if options.only in (None, name.partition("/")[0])
    }
    figures = kept(options.figures)
    if not options.kept:
        figures = _measured(parts, figures, options)
    chosen = {name: figures[name] for name in parts if name in figures}
    if missing := [name for name in parts if name not in figures]:
        print(f"not measured: {', '.join(missing)}")
    rows = rows_of(chosen)
    if options.quick:  # of arrays that weigh nothing
        rows = [replace(row, bar=None) for row in rows]
    finish(rows, options.json)


def _measured(
    parts: Mapping[str, Callable[[], dict[str, Any]]], figures: Figures, options: argparse.Namespace
) -> Figures:
    """Measure the parts that have no figures yet, or all; each is kept when it is done."""
    for name, part in parts.items():
        if name in figures and not options.again:
            print(f"{name}: kept; --again measures it anew", flush=True)
            continue
        print(f"{name}: being measured", flush=True)
        figures[name] = {**part(), "machine": machine(("echofm-federated", "flwr", "numpy"))}
        keep(options.figures, figures)
    return figures


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    words = parser(str(__doc__).splitlines()[0])
    pieces = list(dict.fromkeys(name.partition("/")[0] for name in parts_of(QUICK)))
    words.add_argument("--only", choices=pieces, metavar="PIECE", help=", ".join(pieces))
    words.add_argument(
        "--figures", type=file_to_write, metavar="FILE",
        help="where figures are kept; default: benchmarks/results/deployment.json",
    )  # fmt: skip
    words.add_argument("--kept", action="store_true", help="measure nothing, judge what is kept")
    words.add_argument("--again", action="store_true", help="measure what is kept anew, too")
    words.add_argument(
        "--quick", action="store_true", help="tiny arrays and few rounds, to try it; no bars"
    )
    options = words.parse_args(arguments)
    if options.quick and options.kept:
        words.error("what is kept is of the whole: --quick does not go with --kept")
    options.figures = options.figures or (QUICK_KEPT if options.quick else KEPT)
    if options.kept and not options.figures.exists():
        words.error(f"{options.figures} does not exist; run without --kept first")
    return options


if __name__ == "__main__":
    main()
