"""Sub-commands of `echofm` that train on one machine, and `data export-split`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echofm_core.contract import Phase
from echofm_core.data.commands import data
from echofm_core.plan.document import Plan
from echofm_core.plan.engine import EngineName
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.preflight import check_words, require_engine
from echofm_core.run_claim import load_runnable, look
from echofm_core.runtime.errors import PlanError
from echofm_core.runtime.files import check_place
from simulations.split_commands import export_split
from simulations.study.folder import look_study
from simulations.study.options import with_study
from simulations.study.published import check_published
from simulations.study.variations import variations

if TYPE_CHECKING:
    from simulations.outcome import Outcome

PlanFile = Annotated[Path, typer.Argument(help="TOML plan; machine.roots names the data folders.")]
Resume = Annotated[bool, typer.Option(help="Go on with an interrupted run, to the same bits.")]


def register(app: typer.Typer) -> None:
    """Add what trains on one machine, and ``export-split`` to the core's ``data``."""
    for command in (demo, simulate, pretrain, finetune):
        app.command()(command)
    data.command()(export_split)


def demo(
    folder: Annotated[Path, typer.Argument(help="Gets data/, plan.toml and run/.")] = Path("demo"),
    fresh: Annotated[bool, typer.Option(help="Start again from nothing.")] = False,
) -> None:
    """Train a federation of synthetic hospitals and report how it does where nobody trained.

    Writes five hospitals of phantoms, one of which no model ever sees, and the public layouts of
    EchoNet-Dynamic, CAMUS, MIMIC-IV-ECHO with its LVVOL subset, TMED-2 and HMC-QU with their known
    errors and one real cine; pre-trains and fine-tunes across six sites through Flower; and
    compares the result with each site alone, pooled data, no pre-training and no network. About
    six minutes on two CPU cores. Run it again after an interruption: it goes on where it stopped.

    Example: `echofm demo`, then open demo/run/report.html, then change demo/plan.toml and run
    `echofm simulate demo/plan.toml --out demo/run-2`.
    """
    from simulations.demo import run_demo

    _show(run_demo(folder, fresh=fresh))


def _print_list(wanted: bool) -> None:
    if wanted:
        from simulations.study.listing import print_list

        print_list()
        raise typer.Exit


def simulate(
    plan: Annotated[Path, typer.Argument(help="TOML plan; `echofm keys` prints what it may hold.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted run.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Sites trained at the same time; default: the plan's.")
    ] = None,
    engine: Annotated[
        EngineName | None, typer.Option(help="What trains the sites; default: the plan's.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster, or `auto`; asks for Ray.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="A study: train each method with so many seeds.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="A study: e.g. `fedavg,local`, or `reviewer`, a set; see --list."),
    ] = None,
    protocols: Annotated[
        str | None, typer.Option(help="A study: e.g. `institution,iid`; see --list.")
    ] = None,
    tune: Annotated[
        int | None, typer.Option(min=0, help="A study: try so many settings of each method.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option(help="Print sites, work, bytes, memory and time; train nothing.")
    ] = False,
    listing: Annotated[
        bool,
        typer.Option(
            "--list", callback=_print_list, is_eager=True, help="Explain methods and protocols."
        ),
    ] = False,
) -> None:
    """Split data sets by site, train a federation on this machine, and report.

    The plan names the data folders (exactly as downloaded), the protocol that makes the sites,
    the model, both training phases and what to compare with. The same plan gives the same
    weights, bit for bit, on 1 or N workers, and on a Ray cluster (`--engine ray`).

    With `--seeds`, `--methods`, `--protocols` or `--tune`, or a table [study] in the plan, it is a
    study: each method is trained with each seed under each protocol, what several of them need
    once, and one table and one report compare them. `--tune 3` tries three settings of each method
    with the first seed, and takes the one that does best on validation patients.

    `--list` explains protocols, methods and baselines. `--dry-run` measures a few steps, prints
    what the whole will take, and warns of what will not work.

    For example: `echofm simulate demo/plan.toml --out demo/run-2` on the demo's data; on yours,
    `echofm simulate plan.toml --out runs/ef --workers 4`; on a Ray cluster that shares the disk,
    `echofm simulate plan.toml --out /shared/ef --ray-address auto`; a study,
    `echofm simulate plan.toml --seeds 3 --methods reviewer`; after a power cut, the same with
    `--resume`.
    """
    loaded = load_runnable(plan)  # before anything that takes long to import
    loaded = with_study(loaded, seeds, methods, protocols, tune)
    loaded = _with_machine(loaded, workers, engine, ray_address)
    run = out or Path("runs") / (f"{loaded.name}-study" if loaded.study.asked else loaded.name)
    _refuse_early(loaded, run, resume=resume)
    _find_data(loaded)
    if dry_run:
        from simulations.study.dry_run import dry_run as forecast

        forecast(loaded, run)
        return
    if loaded.study.asked:
        from echofm_core.report.study_page import print_study
        from simulations.study.run import run_study

        report = run_study(loaded, run, resume=resume)
        print_study(run)
        typer.echo(f"report: {report}")
        return
    from simulations.experiment import run_experiment

    _show(run_experiment(loaded, run, resume=resume))


def _refuse_early(plan: Plan, run: Path, *, resume: bool) -> None:
    """Refuse what can be refused before data are looked for, which may write phantoms."""
    (look_study if plan.study.asked else look)(run, plan, resume=resume)
    variations(plan)
    check_published(plan)
    require_engine(plan.machine)
    if plan.study.tune:
        from simulations.study.candidates import check_tuning

        check_tuning(plan)


def pretrain(
    plan: PlanFile,
    out: Annotated[Path, typer.Option(help="Run folder.")],
    start: Annotated[
        Path | None, typer.Option(help="Weights to begin with, e.g. of `echofm model import`.")
    ] = None,
    resume: Resume = False,
) -> None:
    """Pre-train the encoder on one institution's cines by masked auto-encoding, without labels.

    A federation of one site, without a server: the plan is that of a federation, its [pretrain]
    table counts, and its data folders are taken as one institution. Where there are held-out
    patients, the weights of the round with the least validation loss are the result, unless the
    plan sets `federation.select = "last"`.

    For example: `echofm pretrain plan.toml --out runs/mae`, then
    `echofm finetune plan.toml --start runs/mae --out runs/ef`.
    """
    _alone("pretrain", plan, out, start, resume)
    typer.echo(f"encoder: {out / 'model'}")


def finetune(
    plan: PlanFile,
    out: Annotated[Path, typer.Option(help="Run folder.")],
    start: Annotated[
        Path | None, typer.Option(help="Run folder or weights of pre-training, or a model.")
    ] = None,
    resume: Resume = False,
) -> None:
    """Fine-tune encoder, STF-Net and heads on one institution's labels, and test the result.

    A federation of one site, without a server; the plan's [finetune] table counts. The round with
    the least validation loss is the result, unless the plan sets `federation.select = "last"`, and
    `patience` stops when validation no longer gets better. Without --start the encoder begins with
    the weights of `machine.start`, else with drawn ones.

    For example: `echofm finetune plan.toml --start runs/mae --out runs/ef`; after a power cut, the
    same with `--resume`.
    """
    _alone("finetune", plan, out, start, resume)
    typer.echo(f"model: {out / 'model'}")


def _with_machine(
    plan: Plan, workers: int | None, engine: EngineName | None, ray_address: str | None
) -> Plan:
    """Options of the command in place of the plan's keys; a cluster's address asks for Ray.

    Raises:
        PlanError: One is not valid, or names a cluster that the engine has no use for.
    """
    machine, given = plan.machine, dict[str, Any]()
    if ray_address is not None:
        given["ray"] = {**machine.ray.model_dump(), "address": ray_address}
        engine = engine or EngineName.RAY
    if ray_address and engine is EngineName.PROCESSES:
        raise PlanError("--ray-address is of a Ray cluster, and --engine processes uses none.")
    if workers is not None:
        given["workers"] = workers
    if engine is not None:
        given["engine"] = engine
    found = plan_from_mapping({"machine": given}, "with these options").machine
    changes = {key: getattr(found, key) for key in given}
    return plan.model_copy(update={"machine": machine.model_copy(update=changes)})


def _find_data(plan: Plan) -> None:
    """Write a plan's phantoms where it names some and they are missing; refuse missing folders.

    Raises:
        OutputError: The folder of decoded clips that the plan names cannot be written.
        DataRootError, PlanError: As of the two that are called.
    """
    if plan.machine.cache:
        check_place(Path(plan.machine.cache), folder=True)
    if plan.machine.phantoms.folder:
        from echofm_core.phantom.missing import write_missing

        write_missing(plan.machine.phantoms, plan.machine.roots)
    check_words(plan.machine)


def _alone(phase: str, file: Path, out: Path, start: Path | None, resume: bool) -> None:
    """Train one phase as a federation of one site, and print the scores that there are."""
    plan = load_runnable(file)  # before anything that takes long to import
    check_place(out, folder=True)
    _find_data(plan)

    from echofm_core.report.run_files import read_run
    from echofm_core.report.words import print_run
    from simulations.alone import train_alone

    if not train_alone(plan, Phase(phase), out, start=start, resume=resume).scores.empty:
        print_run(read_run(out))


def _show(outcome: Outcome) -> None:
    """Print the table, its caveats, and where everything lies."""
    from echofm_core.report.run_files import read_run
    from echofm_core.report.words import print_run
    from echofm_core.runtime.console import console

    print_run(read_run(outcome.run))
    for note in outcome.notes:
        console.print(f"note: {note}", markup=False)
    console.print(f"weights digest {outcome.digest}")
    console.print(f"report: {outcome.run / 'report.html'}")
