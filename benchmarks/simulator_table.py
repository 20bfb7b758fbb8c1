"""The rows and the table of ``benchmarks.simulator``, from its figures."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks._rows import Bar, Row
from benchmarks.deployment_table import slope
from benchmarks.simulator_measure import COMPARED, OURS, PLAIN, RAY, Figures

#: Workload -> most CPU, in that of the plain loop.
PLAIN_BARS = {"small": 1.2, "wire": 2.0}
#: Most MB of ``wire``.
PEAK = 600
#: Most CPU, in that of Flower + Ray.
RAY_BAR = 1 / 3
#: Of many sites: most memory, in that of the fewest; most exponent of time.
SITES_MEMORY, SITES_EXPONENT = 1.2, 1.05
#: Most MB a round that a run of many rounds grows.
FLAT = 0.1
_RAY_WORDS = "Flower + Ray"


def rows_of(figures: Figures) -> list[Row]:
    """One row a bar, and those that have none."""
    return [
        *(row for workload in COMPARED for row in _compared(figures, workload)),
        *_split(figures),
        *_sites(figures["sites"]),
        *_resident(figures["resident"]),
    ]


def table_of(figures: Figures) -> str:
    """Where the seconds of ours on ``wire`` go, as text."""
    parts, plain = figures["parts"], _median(figures, "wire", PLAIN, "cpu")
    lines = ["wire, where our CPU goes: s, in that of the plain loop"]
    for kind, heading in (("check", "checks and records"), ("work", "the rest")):
        chosen = parts[parts["kind"] == kind]
        lines.append(_line(f"  {heading}", chosen["cpu"].sum(), plain))
        lines += [
            _line(f"    {part}", cpu, plain)
            for part, cpu in zip(chosen["part"], chosen["cpu"], strict=True)
        ]
    return "\n".join([*lines, _line("  in all", parts["cpu"].sum(), plain)])


def exponent(sites: pd.DataFrame) -> float:
    """Power of the number of sites that CPU seconds grow by, a least-squares fit of logarithms.

    Args:
        sites: ``sites`` and ``cpu``; repetitions count by their median.
    """
    cpu = sites.groupby("sites")["cpu"].median()
    return float(np.polyfit(np.log(cpu.index.to_numpy()), np.log(cpu.to_numpy()), 1)[0])


def _compared(figures: Figures, workload: str) -> list[Row]:
    runs = figures["runs"]
    ours = {unit: _median(figures, workload, OURS, unit) for unit in ("cpu", "peak")}
    bars = {PLAIN: Bar("at most", PLAIN_BARS[workload]), RAY: Bar("at most", RAY_BAR)}
    rows = []
    for contestant, words in ((PLAIN, "plain loop"), (RAY, _RAY_WORDS)):
        if not ((runs["workload"] == workload) & (runs["contestant"] == contestant)).any():
            continue
        peer = {unit: _median(figures, workload, contestant, unit) for unit in ours}
        rows += [
            Row(f"{workload}: CPU s, {words}", ours["cpu"], peer["cpu"], bars[contestant]),
            Row(f"{workload}: peak MB, {words}", ours["peak"], peer["peak"]),
        ]
    if workload == "wire":
        rows.append(Row("wire: peak MB", ours["peak"], bar=Bar("at most", PEAK)))
    return rows


def _split(figures: Figures) -> list[Row]:
    """What ``wire`` takes for checks, and without them, beside the whole of the plain loop."""
    parts, plain = figures["parts"], _median(figures, "wire", PLAIN, "cpu")
    checks = float(parts.loc[parts["kind"] == "check", "cpu"].sum())
    return [
        Row("wire: CPU s of our checks and records, plain loop", checks, plain),
        Row("wire: CPU s without these, plain loop", float(parts["cpu"].sum()) - checks, plain),
    ]


def _sites(sites: pd.DataFrame) -> list[Row]:
    few, many = int(sites["sites"].min()), int(sites["sites"].max())
    cpu, peak = (sites.groupby("sites")[unit].median().to_dict() for unit in ("cpu", "peak"))
    most = Bar("at most", SITES_MEMORY)
    listed = ", ".join(map(str, cpu))
    return [
        Row(f"tiny, 10 rounds: peak MB, {many} sites, {few} sites", peak[many], peak[few], most),
        Row(
            f"tiny, 10 rounds: exponent of CPU s over {listed} sites",
            exponent(sites),
            bar=Bar("at most", SITES_EXPONENT),
        ),
        Row(f"tiny, 10 rounds: CPU s, {many} sites, {few} sites", cpu[many], cpu[few]),
    ]


def _resident(resident: pd.DataFrame) -> list[Row]:
    rows = []
    for workload in COMPARED:
        chosen = resident.loc[resident["workload"] == workload, "megabytes"]
        what = f"{workload}, {len(chosen)} rounds: MB a round that memory grows"
        rows.append(Row(what, slope(chosen.tolist()), bar=Bar("at most", FLAT)))
    return rows


def _median(figures: Figures, workload: str, contestant: str, unit: str) -> float:
    runs = figures["runs"]
    chosen = (runs["workload"] == workload) & (runs["contestant"] == contestant)
    return float(runs.loc[chosen, unit].median())


def _line(words: str, cpu: float, plain: float) -> str:
    return f"{words:<50}{cpu:8.3f}{cpu / plain:8.2f}"
