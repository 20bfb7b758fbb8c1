"""What ``benchmarks.deployment`` measured: kept part by part in one file, and judged from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import server_memory
from benchmarks._rows import Bar, Row
from echofm_core.runtime.files import write_whole

#: Figures by part, ``PIECE/PART``.
Figures = dict[str, dict[str, Any]]

#: Seconds until training goes on after a kill, at most.
RECOVERY = {"client app": 60.0, "server app": 60.0, "SuperNode": 90.0}
#: A server's memory counts as flat where it grows by less than this share of the model a round.
FLAT = 0.01


def keep(path: Path, figures: Figures) -> None:
    """Write figures, and the rows that they give."""
    bars = [row.as_json() for row in rows_of(figures)]
    made = {"made by": "python -m benchmarks.deployment", "figures": figures, "bars": bars}
    text = json.dumps(made, indent=1).replace("NaN", "null")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{text}\n".encode())


def kept(path: Path) -> Figures:
    """Figures of a file; none where there is no file."""
    if not path.exists():
        return {}
    figures: Figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    return figures


def rows_of(figures: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The rows of the parts that are there, each with its bar."""
    rows: list[Row] = []
    wire = {name: found for name, found in figures.items() if name.startswith("wire/")}
    if peer := wire.get("wire/flower"):
        for name in ("fp16", "fp32"):
            if ours := wire.get(f"wire/{name}"):
                rows += _crossing(name, ours, peer)
    if ours := wire.get("wire/fp16"):
        rows += _memory(ours, FLAT * 4 * ours["parameters"] / 1e6)
    for name, found in figures.items():
        if name.startswith("memory/"):
            rows += server_memory.rows_of(found["sites"], found["training"], found["evaluation"])
    if found := figures.get("small/sites"):
        rows += [
            Row(f"{_words(found)}: lost updates", found["lost"], bar=Bar("exactly", 0)),
            *_memory(found, 0.1),
            Row(f"{_words(found)}: s a round", typical(found["seconds"])),
        ]
    for what, seconds in figures.get("recovery/kills", {}).get("seconds", {}).items():
        # Where it never went on there is no number, and no bar is met.
        value = float("nan") if seconds is None else seconds
        bar = Bar("at most", RECOVERY[what])
        rows.append(Row(f"s from the kill of a {what} to training again", value, bar=bar))
    return rows


def typical(values: Sequence[float]) -> float:
    """Median over the rounds but for the first, in which every process starts."""
    return float(median(values[1:] or values))


def slope(values: Sequence[float]) -> float:
    """Growth a round, by least squares, of the rounds after a warm-up of the first fifth."""
    rest = np.asarray(values[len(values) // 5 :], dtype=float)
    return float(np.polyfit(np.arange(len(rest)), rest, 1)[0]) if len(rest) > 1 else float("nan")


def _crossing(name: str, ours: Mapping[str, Any], peer: Mapping[str, Any]) -> list[Row]:
    """A format of ours beside stock FedAvg in float32; half precision alone is held to bars."""
    half, what = name == "fp16", f"{_words(ours)}, {name}"
    fewer, faster = Bar("at most", 1 / 1.9), Bar("at most", 1 / 1.3)
    rows = [
        Row(f"{what}: {unit}", typical(ours[key]), typical(peer[key]), bar if half else None)
        for unit, key, bar in (("MB a round", "megabytes", fewer), ("s a round", "seconds", faster))
    ]
    cpu = typical(ours["cpu"]), typical(peer["cpu"])
    return [
        *rows,
        Row(f"{what}: CPU s a round of ServerApp and SuperLink", *cpu),
        Row(f"{what}: peak MB of the ServerApp", ours["peak"], peer["peak"]),
    ]


def _memory(found: Mapping[str, Any], most: float) -> list[Row]:
    """How memory grows over the rounds; that of the SuperLink is Flower's own."""
    what = f"{_words(found)}, {found['rounds']} rounds: MB a round that the"
    return [
        Row(f"{what} ServerApp grows", slope(found["resident"]), bar=Bar("at most", most)),
        Row(f"{what} SuperLink grows", slope(found["superlink"])),
    ]


def _words(found: Mapping[str, Any]) -> str:
    return f"{found['sites']} sites x {found['parameters'] / 1e6:.3g} M"
