"""`echofm data export-split`: the sites of a protocol, for other frameworks."""

from pathlib import Path
from typing import Annotated, Any

import typer

from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan, plan_from_mapping
from echofm_core.plan.protocol import SKEWED, SYNTHETIC, ProtocolName
from echofm_core.runtime.errors import PlanError

PlanFile = Annotated[Path | None, typer.Option(help="Take \\[protocol] and seed from this plan.")]
Dataset = typer.Option(help="Data set that takes part; may be repeated.")
View = typer.Option(help="View to export; may be repeated. Sites are drawn over all views.")
TestFraction = typer.Option(help="Share of patients for test, where no split is official.")
MinPatients = typer.Option(help="Patients that a site needs; smaller ones are refused, or merged.")
Clients = typer.Option(help="Number of synthetic sites.")
Alpha = typer.Option(help="Small is strong skew; dirichlet and view_skew alone.")
RelativeTo = typer.Option(help="Write paths relative to this folder; default: absolute.")
NoPaths = typer.Option("--no-paths", help="Leave paths empty, and write no data lists.")


def export_split(
    manifest: Annotated[
        Path, typer.Argument(help="From `echofm data index`, or a run's manifests/all.parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    plan: PlanFile = None,
    protocol: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(ProtocolName)}; default: institution.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn; default: 0.")] = None,
    dataset: Annotated[list[str] | None, Dataset] = None,
    view: Annotated[list[str] | None, View] = None,
    test_fraction: Annotated[float | None, TestFraction] = None,
    validation_fraction: Annotated[
        float | None, typer.Option(help="Share of patients for validation, likewise.")
    ] = None,
    min_patients: Annotated[int | None, MinPatients] = None,
    clients: Annotated[int | None, Clients] = None,
    alpha: Annotated[float | None, Alpha] = None,
    relative_to: Annotated[Path | None, RelativeTo] = None,
    no_paths: Annotated[bool, NoPaths] = False,
) -> None:
    """Write the sites and splits of a protocol as files that other frameworks read.

    `split.csv` and `sites/SITE/{train,val,test}.csv` for pandas and PyTorch; the same through a
    dataset card, `README.md`, for Hugging Face datasets and Flower Datasets; `datalists/SITE.json`
    for MONAI and NVFlare; `split.json` says how it was made, with counts and digests. Patients are
    never torn, official test patients stay test patients, and the same call gives the same bytes.

    **The files stay where the data stays.** Patient ids are those of the manifest: public
    pseudonyms, or keyed hashes of a hospital's own. Paths of a hospital's files may still tell who
    was examined; `--no-paths` leaves them out.

    For example:

    * `echofm data export-split manifest.parquet --protocol institution --out split`
    * `echofm data export-split manifest.parquet --protocol dirichlet --clients 8 --alpha 0.1 --out
      skewed`
    * `echofm data export-split runs/ef/manifests/all.parquet --plan runs/ef/plan.toml --out split`
    """
    options = {
        "name": protocol,
        "datasets": dataset,
        "views": view,
        "test_fraction": test_fraction,
        "validation_fraction": validation_fraction,
        "min_patients": min_patients,
        "clients": clients,
        "alpha": alpha,
    }
    given = {key: value for key, value in options.items() if value is not None}
    asked = _plan(plan, given, seed)
    if no_paths and relative_to is not None:
        raise PlanError("--no-paths leaves no path for --relative-to; give one of them.")

    from simulations.export_split import Paths, export_split

    paths = Paths(written=not no_paths, below=relative_to)
    exported = export_split(manifest, asked.protocol, asked.seed, out, paths)
    _show(exported.summary, out, new=exported.new)


def _plan(file: Path | None, given: dict[str, Any], seed: int | None) -> Plan:
    """A plan whose protocol and seed count: that of the file, or one made of the options.

    Raises:
        PlanError: Both, or a value out of its range, or an option that the protocol has no use for.
    """
    asked = [*given, *([] if seed is None else ["seed"])]
    if file is not None and asked:
        named = ", ".join(f"`{name}`" for name in asked)
        raise PlanError(f"--plan and the options for {named} both say how to split; give one.")
    if file is not None:
        return load_plan(file)
    plan = plan_from_mapping({"protocol": given, "seed": seed or 0}, "made of the options")
    name = plan.protocol.name
    for option, rules in {"alpha": SKEWED, "clients": SYNTHETIC}.items():
        if option in given and name not in rules:
            raise PlanError(
                f"--{option} belongs to the protocol {' or '.join(sorted(rules))} and does nothing "
                f"for {name.value}; leave it out, or add --protocol {min(rules)}."
            )
    return plan


def _show(summary: dict[str, Any], out: Path, *, new: bool) -> None:
    """Counts by site and split, the caveat, and where everything lies."""
    from rich.table import Table

    from echofm_core.data.manifest import Split
    from echofm_core.runtime.console import console
    from simulations.split_files import LABELS

    table = Table("site", "split", "clips", "patients", *LABELS)
    for site, part in summary["sites"].items():
        for split in Split:
            counts = part[split.value]
            labels = (counts["labelled"][label] for label in LABELS)
            row = (site, split.value, counts["clips"], counts["patients"], *labels)
            table.add_row(*map(str, row))
    console.print(table)
    console.print(f"note: {summary['caveat']}")
    if summary["left_out_clips"]:
        console.print(f"note: {summary['left_out_clips']} clips of other views are left out.")
    console.print(f"split digest {summary['split_sha256']}")
    console.print(
        f"written to {out}" if new else f"{out} holds this split already: nothing changed"
    )
