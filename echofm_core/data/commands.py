"""`echofm data`: what is in the data folders, and decoding it once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from echofm_core.data.config import DataConfig
from echofm_core.plan.load import load_plan
from echofm_core.plan.preflight import check_places, check_roots
from echofm_core.runtime.errors import NothingUsableError, PlanError
from echofm_core.runtime.files import check_place, write_whole, writing
from echofm_core.runtime.text import many

if TYPE_CHECKING:
    import pandas as pd

    from echofm_core.data.findings import Findings
    from echofm_core.pages.grid import Grid

_HELP = """Read data sets as downloaded, and decode them once.

```
echofm data doctor ~/EchoNet-Dynamic ~/CAMUS_public --out doctor
echofm data index ~/EchoNet-Dynamic ~/CAMUS_public --out manifest.parquet
echofm data store manifest.parquet --out stores
```
"""

#: What `index` and `doctor` take.
_Plan = Annotated[
    Path | None,
    typer.Option("--plan", help="Read TMED-2 and MIMIC-IV-ECHO as this plan's [data] says."),
]
_Findings = Annotated[
    Path | None, typer.Option(help="CSV to write with everything that was wrong.")
]
_Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes that decode; default: all cores.")
]

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
    findings: _Findings = None,
    plan: _Plan = None,
    secret: Annotated[
        Path | None,
        typer.Option(
            help="Secret of the institution, for names in public layouts that their publishers did "
            "not give; default: echofm.secret at the layout's top."
        ),
    ] = None,
) -> None:
    """Write the manifest of the data folders, and say what cannot be used.

    Nothing in the folders is changed. Known layouts: EchoNet-Dynamic, -Pediatric and -LVH, CAMUS
    (NIfTI and MHD), TMED-2, MIMIC-IV-ECHO and its LVVOL-A4C subset, HMC-QU, CardiacUDA, and an
    institution's own files with a mapping file echofm.toml; each may lie up to four folders below,
    as PhysioNet's do in physionet.org.

    For example:

    * `echofm data index ~/data --out manifest.parquet`
    * `echofm data index ~/data --out manifest.parquet --findings findings.csv`
    * `echofm data index ~/TMED2 --out manifest.parquet --plan plan.toml`
    """
    config = _asked_for(plan)  # before anything that takes long to import
    check_roots(roots)
    for file in filter(None, (out, findings)):
        check_place(file, folder=False)

    from echofm_core.data.findings import places_csv
    from echofm_core.data.manifest import save_manifest
    from echofm_core.data.patients import read_secret
    from echofm_core.data.readers.registry import read_roots

    key = None if secret is None else read_secret(secret)
    manifest, found = read_roots(roots, config, key)
    if local := places_csv(found.table(), found.places):
        file = out.with_name(f"{out.stem}.files-stay-here.csv")
        with writing(file):
            write_whole(file, local)
        typer.echo(f"which files the findings are about, for this institution alone: {file}")
    if manifest.empty:
        _print_findings(found, findings)
        raise NothingUsableError(
            f"no clip under the data roots can be used, for the reasons above; {out} was not "
            "written."
        )
    with writing(out):
        save_manifest(manifest, out)
    _print_clips(manifest)
    _print_findings(found, findings)
    typer.echo(f"{many(len(manifest), 'clip')} in {out}")


@data.command()
def doctor(
    places: Annotated[
        list[Path],
        typer.Argument(help="Folders of data sets, folders of loose AVI, MP4, DICOM, or files."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("doctor"),
    decode: Annotated[
        int, typer.Option(min=0, help="Clips of each data set to decode, drawn; 0: all.")
    ] = 1000,
    workers: _Workers = None,
    plan: _Plan = None,
) -> None:
    """Say what is in data and what is wrong with them, before anyone trains on them.

    Counts by view, split, label, vendor and frame rate; every file that cannot be used and why;
    labels that contradict each other, patients in two splits, clips that are there twice, black or
    frozen. Nothing in the folders is changed. Exit code 0 also where much is wrong, or nothing can
    be used: the findings are the result.

    Writes doctor.html, doctor.json, findings.csv and contact_sheet.png to --out.

    For example:

    * `echofm data doctor ~/data --out doctor`
    * `echofm data doctor export/cine.dcm`
    * `echofm data doctor ~/mimic-iv-echo --decode 200`
    """
    config = _asked_for(plan)  # before anything that takes long to import
    check_places(places)  # and no report folder for a mistyped place
    check_place(out, folder=True)

    from echofm_core.data.doctor.count import summary
    from echofm_core.data.doctor.examine import examine
    from echofm_core.data.doctor.page import write_page
    from echofm_core.data.doctor.tables import print_summary
    from echofm_core.data.parallel import cores
    from echofm_core.runtime.console import console

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)  # refused before anything is read
    diagnosis = examine(places, out / ".decoded", config, decode=decode, workers=workers or cores())
    with writing(out):
        page = write_page(diagnosis, out)
    print_summary(summary(diagnosis), console)
    typer.echo(f"report: {page}")


@data.command()
def secret(
    file: Annotated[Path, typer.Argument(help="File to write; it must not be there yet.")],
) -> None:
    """Write the secret with which this institution's ids are hashed.

    Keep it where the data is, and keep it: with another secret every patient gets another id.
    Whoever has it can tell which id is whose. Readable by its owner alone.

    For example: `echofm data secret site.secret`.
    """
    from echofm_core.data.patients import write_secret

    write_secret(file)
    typer.echo(f"secret: {file}")


@data.command()
def store(
    manifest: Annotated[Path, typer.Argument(help="From `echofm data index`.")],
    out: Annotated[Path, typer.Option(help="Folder to write to: one clip store a data set.")],
    size: Annotated[
        int | None, typer.Option(help="Side of the stored frames, in pixels; default: 112.")
    ] = None,
    workers: _Workers = None,
    findings: _Findings = None,
    plan: Annotated[
        Path | None, typer.Option(help="Store what this plan's \\[data] wants, instead of --size.")
    ] = None,
) -> None:
    """Decode every clip of a manifest once, to grey frames in a memory map.

    Safe to stop or to kill, and to run again: only what is new or changed is decoded, and the
    result is the same for any number of workers. A clip that cannot be decoded, or that takes its
    decoder down, is listed and left out. Frames take size x size bytes each: 10,000 clips of 176
    frames at 112 are 22 GB, and twice that while they are written; that much is asked for before
    the first is decoded.

    For example:

    * `echofm data store manifest.parquet --out stores`
    * `echofm data store manifest.parquet --out stores --size 224 --workers 8`
    * `echofm data store manifest.parquet --out stores --plan plan.toml`
    """
    config = _asked_for(plan, size)  # before anything that takes long to import
    check_place(out, folder=True)
    if findings is not None:
        check_place(findings, folder=False)

    from echofm_core.data.findings import Findings
    from echofm_core.data.manifest import load_manifest
    from echofm_core.data.parallel import cores
    from echofm_core.data.store.build import build_stores
    from echofm_core.data.store.install import make_room
    from echofm_core.data.store.space import check_disk

    found, clips = Findings(), load_manifest(manifest)
    builds = {out / str(dataset): rows for dataset, rows in clips.groupby("dataset", observed=True)}
    with writing(out):
        for folder in builds:
            make_room(folder)
        check_disk(out, builds, config)
    usable = 0
    for _, built, bad in build_stores(clips, out, config, workers or cores()):
        found.extend(bad)
        usable += len(built)
        name, digest = built.folder.name, built.digest()[:16]
        typer.echo(f"{name}: {many(len(built), 'clip')}, digest {digest}")
    _print_findings(found, findings)
    if not usable:
        raise NothingUsableError(
            f"of {many(len(clips), 'clip')} of {manifest} none can be used, for the reasons above."
        )


def _asked_for(plan: Path | None, size: int | None = None) -> DataConfig:
    """The table `[data]` of a plan, without one its defaults, or another size by a plan's rules."""
    if size is None:
        return DataConfig() if plan is None else load_plan(plan).data
    if plan is not None:
        raise PlanError("--plan and --size both say how large frames are stored; give one.")
    try:
        return DataConfig(size=size)
    except ValidationError as error:
        raise PlanError(f"--size {size}: {error.errors()[0]['msg']}.") from None


def _print_clips(manifest: pd.DataFrame) -> None:
    """Clips and patients by data set, view and split."""
    named, rows = manifest.fillna({"view": "-", "split": "-"}), []
    for key, part in named.groupby(["dataset", "view", "split"], observed=True):
        labels = part[["ef", "as_grade", "as_class"]].count()
        counts = (len(part), part["patient_id"].nunique(), *labels)
        rows.append((*map(str, key), *map(str, counts)))
    head = ("data set", "view", "split", "clips", "patients", "EF", "AS grade", "AS class")
    _print_table(head, rows, numbers=(3, 4, 5, 6, 7))


def _print_findings(found: Findings, out: Path | None) -> None:
    """Findings by data set and kind, and the reasons of each kind; each of them in ``out``."""
    from echofm_core.data.findings import findings_csv
    from echofm_core.data.reasons import Reason, reason_table

    table = found.table()
    if out is not None:
        with writing(out):
            write_whole(out, findings_csv(table))
    if table.empty:
        typer.echo("Nothing was wrong.")
        return
    rows = [
        (*map(str, key), str(len(part)), str(part["item"].iloc[0]))
        for key, part in table.groupby(["dataset", "kind", "severity"])
    ]
    _print_table(("data set", "kind", "then", "count", "for instance"), rows, numbers=(3,))
    reasons = zip(table["kind"], map(Reason, table["reason"]), strict=True)
    where = f"in {out}" if out is not None else "which --findings FILE writes"
    _print_grid(reason_table(reasons, where))


def _print_table(
    head: tuple[str, ...], rows: list[tuple[str, ...]], numbers: tuple[int, ...]
) -> None:
    from echofm_core.data.doctor.tables import text_grid

    _print_grid(text_grid(head, rows, numbers))


def _print_grid(grid: Grid) -> None:
    from echofm_core.pages.grid import terminal_table
    from echofm_core.runtime.console import console

    console.print(terminal_table(grid, console.width), soft_wrap=False)
    typer.echo()
