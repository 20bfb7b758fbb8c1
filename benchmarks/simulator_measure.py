"""What ``benchmarks.simulator`` measures: each contestant, the parts of a round, sites, rounds."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmarks._timing import machine
from benchmarks.simulator_clocks import CHECKS, WORK
from benchmarks.simulator_process import Usage, measure
from benchmarks.workloads import ROUNDS, SITES

#: Name -> table of figures.
Figures = dict[str, pd.DataFrame]

OURS, PLAIN, RAY = "ours", "plain_loop", "flower_ray"
COMPARED = ("small", "wire")
#: Contestants agree on the sum of the model's means up to this share: they add in another order.
AGREE = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        repetitions: Of what is short; Flower + Ray runs once.
        sites: Numbers of sites of the tiny model.
        rounds: Over which memory is watched.
    """

    repetitions: int = 3
    sites: tuple[int, ...] = (10, 100, 1000)
    rounds: int = 100


QUICK = Scale(repetitions=1, sites=(10, 30, 100), rounds=10)


def measured(scale: Scale) -> Figures:
    """Measure all but Ray, one process after the other.

    Returns:
        ``runs`` (workload, contestant, repetition, cpu in s, peak in MB, mean: the sum of the
        model's means), ``parts`` (part, kind, cpu) of ours on ``wire``, ``sites`` (sites,
        repetition, cpu, peak), ``resident`` (workload, round, megabytes).

    Raises:
        RuntimeError: A contestant failed, or came to another model than the plain loop.
    """
    return {
        "runs": pd.DataFrame(list(_runs(scale))),
        "parts": pd.DataFrame(list(_parts())),
        "sites": pd.DataFrame(list(_sites(scale))),
        "resident": pd.DataFrame(list(_resident(scale))),
    }


def conditions() -> dict[str, str]:
    """What figures are made with; before anything is measured."""
    load, cores = os.getloadavg()[0], os.cpu_count()
    return {
        "made by": "python -m benchmarks.simulator",
        "compared over": f"{SITES} sites x {ROUNDS} rounds, one thread a process",
        "other work": f"as it began, {load:.1f} processes wanted the {cores} cores on average; "
        "CPU seconds feel it through shared caches and memory",
        "machine": machine(("echofm-federated", "flwr", "ray", "torch", "numpy")),
    }


def with_ray(figures: Figures) -> Figures:
    """The same with Flower's Ray backend among the runs, which takes minutes each.

    Raises:
        RuntimeError: It failed, or came to another model than the plain loop.
    """
    runs = figures["runs"]
    more = []
    for workload in COMPARED:
        chosen = (runs["workload"] == workload) & (runs["contestant"] == PLAIN)
        more.append(_run(RAY, workload, 0, float(runs.loc[chosen, "mean"].iloc[0])))
    return {**figures, "runs": pd.concat([runs, pd.DataFrame(more)], ignore_index=True)}


def _runs(scale: Scale) -> Iterator[Mapping[str, object]]:
    for workload in COMPARED:
        for repetition in range(scale.repetitions):
            plain = _run(PLAIN, workload, repetition)
            yield plain
            yield _run(OURS, workload, repetition, plain["mean"])


def _run(
    contestant: str, workload: str, repetition: int, mean: float | None = None
) -> dict[str, Any]:
    """One line of ``runs``; ``mean``: what the contestant has to come to."""
    usage = _measure(contestant, workload)
    found = usage.printed["mean"] if contestant == OURS else usage.printed
    if mean is not None and not math.isclose(found, mean, rel_tol=AGREE):
        raise RuntimeError(f"{contestant} came to {found} on {workload}, the plain loop to {mean}")
    return {
        "workload": workload, "contestant": contestant, "repetition": repetition,
        "cpu": usage.cpu, "peak": usage.peak, "mean": found,
    }  # fmt: skip


def _parts() -> Iterator[Mapping[str, object]]:
    """Where the seconds of one more run on ``wire`` go; its whole is the sum."""
    usage = _measure(OURS, "wire", ("--clocks",))
    found: dict[str, float] = usage.printed["parts"]
    before = usage.printed["before"]
    for kind, names in (("check", CHECKS), ("work", WORK)):
        for name in names:
            yield {"part": name, "kind": kind, "cpu": found[name]}
    yield {"part": "imports", "kind": "work", "cpu": before}
    yield {"part": "the rest", "kind": "work", "cpu": usage.cpu - before - sum(found.values())}


def _sites(scale: Scale) -> Iterator[Mapping[str, object]]:
    """Ten rounds of the tiny model; CPU of the rounds alone, without imports."""
    for repetition in range(scale.repetitions):
        for sites in scale.sites:
            usage = _measure(OURS, "tiny", (f"--sites={sites}", "--rounds=10"))
            yield {
                "sites": sites, "repetition": repetition,
                "cpu": usage.printed["cpu"], "peak": usage.peak,
            }  # fmt: skip


def _resident(scale: Scale) -> Iterator[Mapping[str, object]]:
    """Memory after each round of runs that keep journal and checkpoints."""
    for workload in COMPARED:
        usage = _measure(OURS, workload, (f"--rounds={scale.rounds}", "--journal"))
        for number, megabytes in enumerate(usage.printed["resident"], start=1):
            yield {"workload": workload, "round": number, "megabytes": megabytes}


def _measure(contestant: str, workload: str, arguments: Sequence[str] = ()) -> Usage:
    print(f"{workload}: {contestant} {' '.join(arguments)}", flush=True)
    return measure(contestant, workload, arguments)
