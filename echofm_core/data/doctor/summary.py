"""A diagnosis in numbers, on the terminal and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pandas as pd

from echofm_core.data.doctor import count
from echofm_core.data.doctor.examine import Diagnosis
from echofm_core.data.doctor.numbers import Summary
from echofm_core.data.findings import Severity

if TYPE_CHECKING:
    from rich.console import Console

SYNTHETIC = "SYNTHETIC: phantoms are among these data; nothing here is about patients."


def summary(diagnosis: Diagnosis) -> Summary:
    """Count everything, once."""
    manifest, findings = diagnosis.manifest, diagnosis.findings
    values = count.quantities(manifest, diagnosis.decoded)
    names = {str(name) for table in (manifest, findings) for name in table["dataset"]}
    parts = []
    for name in sorted(names):
        here = (manifest["dataset"] == name).to_numpy(dtype=bool)
        found = findings[findings["dataset"] == name]
        public = name in diagnosis.public
        parts.append(count.part(name, manifest[here], values[here], found, public=public))
    return Summary(
        synthetic=diagnosis.synthetic,
        parts=tuple(parts),
        kinds=count.kinds(findings),
        shared=count.shared(manifest),
    )


def print_summary(summary: Summary, console: Console) -> None:
    """Print the verdict and the tables, which fit a terminal of 100 columns; narrower, they fold.

    What a file name holds is printed as text: neither markup nor control characters act.
    """
    from echofm_core.data.doctor.terminal import terminal_tables
    from echofm_core.pages.terminal import terminal_table

    if summary.synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    console.print(summary.verdict, style="bold", markup=False)
    console.print(summary.looked_at, markup=False)
    for titled in terminal_tables(summary):
        console.print(f"\n{titled.title}", style="bold", markup=False)
        console.print(terminal_table(titled.grid, console.width), soft_wrap=False)
        if titled.note:
            console.print(titled.note, style="dim", markup=False)


def to_json(summary: Summary, findings: pd.DataFrame) -> str:
    """The summary and every finding; missing numbers are null, keys in a fixed order."""
    record = {
        "synthetic": summary.synthetic,
        "verdict": summary.verdict,
        "clips": summary.clips,
        "decoded": summary.decoded,
        **{severity.value: summary.found(severity) for severity in Severity},
        "datasets": [asdict(part) for part in summary.parts],
        "shared_patients": [asdict(shared) for shared in summary.shared],
        "kinds": [asdict(kind) for kind in summary.kinds],
        "findings": findings.astype(object).where(findings.notna(), None).to_dict("records"),
    }
    return json.dumps(record, indent=2, allow_nan=False) + "\n"
