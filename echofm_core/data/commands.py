"""`echofm data`: what is in the data folders, and decoding it once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

    from echofm_core.data.config import DataConfig
    from echofm_core.data.findings import Findings

_HELP = """Read data sets as downloaded, and decode them once.

```
echofm data index ~/EchoNet-Dynamic ~/CAMUS_public --out manifest.parquet
echofm data store manifest.parquet --out stores
```
"""

data = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help=_HELP)


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands."""
    app.add_typer(data, name="data")


@data.command()
def index(
    roots: Annotated[
        list[Path],
        typer.Argument(help="Folders of data sets as downloaded, or folders that hold such."),
    ],
    out: Annotated[Path, typer.Option(help="Manifest to write, Parquet.")],
    findings: Annotated[
        Path | None, typer.Option(help="CSV to write with everything that was wrong.")
    ] = None,
) -> None:
    """Write the manifest of the data folders, and say what cannot be used.

    Nothing in the folders is changed. Known layouts: EchoNet-Dynamic, CAMUS (NIfTI), TMED-2,
    MIMIC-IV-ECHO; each may lie two folders below.

    For example:

    * `echofm data index ~/data --out manifest.parquet`
    * `echofm data index ~/data --out manifest.parquet --findings findings.csv`
    """
    from echofm_core.data.manifest import save_manifest
    from echofm_core.data.readers.registry import read_roots

    manifest, found = read_roots(roots)
    save_manifest(manifest, out)
    _print_clips(manifest)
    _print_findings(found, findings)
    typer.echo(f"{len(manifest)} clips in {out}")


@data.command()
def store(
    manifest: Annotated[Path, typer.Argument(help="From `echofm data index`.")],
    out: Annotated[Path, typer.Option(help="Folder to write to: one clip store a data set.")],
    size: Annotated[int, typer.Option(help="Side of the stored frames, in pixels.")] = 112,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode.")] = 1,
    findings: Annotated[
        Path | None, typer.Option(help="CSV to write with everything that was wrong.")
    ] = None,
) -> None:
    """Decode every clip of a manifest once, to grey frames in a memory map.

    Safe to stop and to run again: only what is new or changed is decoded. Frames take size x size
    bytes each: 10,000 clips of 176 frames at 112 are 22 GB.

    For example:

    * `echofm data store manifest.parquet --out stores`
    * `echofm data store manifest.parquet --out stores --size 224 --workers 8`
    """
    from echofm_core.console import progress
    from echofm_core.data.clip_store import build_store
    from echofm_core.data.findings import Findings
    from echofm_core.data.manifest import load_manifest

    config, found, clips = _data_config(size), Findings(), load_manifest(manifest)
    for dataset, rows in clips.groupby("dataset", observed=True):
        with progress(f"decoding {dataset}", len(rows)) as meter:
            built, refused = build_store(
                rows, out / str(dataset), config, workers=workers, meter=meter
            )
        found.extend(refused)
        typer.echo(f"{dataset}: {len(built)} clips, digest {built.digest()[:16]}")
    _print_findings(found, findings)


def _data_config(size: int) -> DataConfig:
    """The plan's rules for ``size`` hold here too.

    Raises:
        PlanError: The size is not one that a plan may ask for.
    """
    from pydantic import ValidationError

    from echofm_core.data.config import DataConfig
    from echofm_core.errors import PlanError

    try:
        return DataConfig(size=size)
    except ValidationError as error:
        raise PlanError(f"--size {size}: {error.errors()[0]['msg']}.") from None


def _print_clips(manifest: pd.DataFrame) -> None:
    """Clips and patients by data set, view and split."""
    from rich.table import Table

    from echofm_core.console import console

    table = Table("data set", "view", "split", "clips", "patients", "EF", "AS grade")
    named = manifest.fillna({"view": "-", "split": "-"})
    for key, part in named.groupby(["dataset", "view", "split"], observed=True):
        counts = (len(part), part["patient_id"].nunique(), *part[["ef", "as_grade"]].count())
        table.add_row(*map(str, key), *map(str, counts))
    console.print(table)


def _print_findings(found: Findings, out: Path | None) -> None:
    """Findings by data set and kind; each of them in ``out``."""
    from rich.table import Table

    from echofm_core.console import console

    rows = found.table()
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        rows.to_csv(out, index=False)
    if rows.empty:
        typer.echo("Nothing was wrong.")
        return
    table = Table("data set", "kind", "then", "count")
    table.add_column("for instance", overflow="fold")
    for key, part in rows.groupby(["dataset", "kind", "severity"]):
        table.add_row(*map(str, key), str(len(part)), str(part["item"].iloc[0]))
    console.print(table)
