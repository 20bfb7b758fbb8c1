"""`echofm data export-split`: the sites of a protocol, for other frameworks."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from echofm_core.plan.load import load_plan, plan_from_mapping
from echofm_core.plan.protocol import ProtocolConfig, ProtocolName
from echofm_core.runtime.errors import PlanError


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `echofm data export-split` is asked, an option a field."""

    manifest: Annotated[
        Path, typer.Argument(help="From `echofm data index`, or a run's manifests/all.parquet.")
    ]
    out: Annotated[Path, typer.Option(help="Folder to make.")]
    plan: Annotated[
        Path | None, typer.Option(help="Take \\[protocol] and seed from this plan.")
    ] = None
    protocol: Annotated[
        str | None, typer.Option(help="institution (default), quality, vendor_model or dirichlet.")
    ] = None
    seed: Annotated[int | None, typer.Option(help="Default: 0.")] = None
    dataset: Annotated[
        list[str] | None, typer.Option(help="Data set that takes part; may be repeated.")
    ] = None
    view: Annotated[
        list[str] | None,
        typer.Option(help="View to export; may be repeated. Sites are drawn over all views."),
    ] = None
    test_fraction: Annotated[
        float | None, typer.Option(help="Share of patients, where no split is official.")
    ] = None
    validation_fraction: Annotated[float | None, typer.Option(help="Likewise.")] = None
    min_patients: Annotated[
        int | None, typer.Option(help="Smaller sites are an error, or merged into `other`.")
    ] = None
    clients: Annotated[
        int | None, typer.Option(help="Number of synthetic sites; dirichlet alone.")
    ] = None
    alpha: Annotated[
        float | None, typer.Option(help="Small is strong label skew; dirichlet alone.")
    ] = None
    relative_to: Annotated[
        Path | None, typer.Option(help="Write paths relative to this folder; default: absolute.")
    ] = None
    no_paths: Annotated[
        bool, typer.Option("--no-paths", help="Leave paths empty, and write no data lists.")
    ] = False


def export_split(**values: Any) -> None:
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
    options = Options(**values)
    protocol, seed = _protocol(options)
    if options.no_paths and options.relative_to is not None:
        raise PlanError("--no-paths leaves no path for --relative-to; give one of them.")

    from simulations.export_split import Paths, export_split

    paths = Paths(written=not options.no_paths, below=options.relative_to)
    exported = export_split(options.manifest, protocol, seed, options.out, paths)
    _show(exported.summary, options.out, new=exported.new)


def _take_options(command: Callable[..., None], options: type) -> None:
    """Let typer read a command's options from a dataclass."""
    hints = get_type_hints(options, include_extras=True)
    defaults = {field.name: field.default for field in fields(options)}
    parameters = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if defaults[name] is MISSING else defaults[name],
            annotation=hint,
        )
        for name, hint in hints.items()
    ]
    command.__annotations__ = hints
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]


_take_options(export_split, Options)

#: Keys of a plan's [protocol] -> the options that set them.
_KEYS = {
    "name": "protocol",
    "datasets": "dataset",
    "views": "view",
    **{
        name: name
        for name in ("test_fraction", "validation_fraction", "min_patients", "clients", "alpha")
    },
}


def _protocol(options: Options) -> tuple[ProtocolConfig, int]:
    """Protocol and seed by a plan or by options.

    Raises:
        PlanError: Both, or a value out of its range, or an option that the protocol has no use for.
    """
    values = {key: getattr(options, option) for key, option in _KEYS.items()}
    given = {key: value for key, value in values.items() if value is not None}
    asked = [*given, *([] if options.seed is None else ["seed"])]
    if options.plan is not None and asked:
        named = ", ".join(f"`{name}`" for name in asked)
        raise PlanError(f"--plan and the options for {named} both say how to split; give one.")
    if options.plan is not None:
        loaded = load_plan(options.plan)
    else:
        table = {"protocol": given, "seed": options.seed or 0}
        loaded = plan_from_mapping(table, "made of the options")
    name = loaded.protocol.name
    if name is not ProtocolName.DIRICHLET and (idle := {"clients", "alpha"} & set(given)):
        raise PlanError(
            f"--{min(idle)} belongs to the protocol dirichlet and does nothing for {name.value}; "
            "leave it out, or add --protocol dirichlet."
        )
    return loaded.protocol, loaded.seed


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
