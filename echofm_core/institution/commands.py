"""`echofm pretrain`, `finetune` and `evaluate`: one institution's own data, no server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

    from echofm_core.contract import Phase, Weights
    from echofm_core.institution.unseen import Overlap
    from echofm_core.plan.document import Plan

PlanFile = Annotated[Path, typer.Argument(help="TOML plan; machine.roots names the data folders.")]
Resume = Annotated[bool, typer.Option(help="Go on with an interrupted run, to the same bits.")]


def register(app: typer.Typer) -> None:
    """Add ``pretrain``, ``finetune`` and ``evaluate``."""
    app.command()(pretrain)
    app.command()(finetune)
    app.command()(evaluate)


def pretrain(
    plan: PlanFile,
    out: Annotated[Path, typer.Option(help="Run folder.")],
    start: Annotated[
        Path | None, typer.Option(help="Weights to begin with, e.g. of `echofm model import`.")
    ] = None,
    resume: Resume = False,
) -> None:
    """Pre-train the encoder on one institution's cines by masked auto-encoding, without labels.

    The plan is that of a federation; its [pretrain] table counts, and its data folders are taken as
    one institution. Where there are held-out patients, the weights of the round with the least
    validation loss are the result.

    For example: `echofm pretrain plan.toml --out runs/mae`, then
    `echofm finetune plan.toml --start runs/mae --out runs/ef`.
    """
    from echofm_core.contract import Phase

    folder = _train(Phase.PRETRAIN, plan, out, start, resume)
    typer.echo(f"encoder: {folder}")


def finetune(
    plan: PlanFile,
    out: Annotated[Path, typer.Option(help="Run folder.")],
    start: Annotated[
        Path | None, typer.Option(help="Run folder or weights of pre-training, or a model.")
    ] = None,
    resume: Resume = False,
) -> None:
    """Fine-tune encoder, STF-Net and heads on one institution's labels, and test the result.

    The plan's [finetune] table counts. `patience` in it stops when validation no longer gets
    better. Without --start the encoder begins with the weights of `machine.start`, else with drawn
    ones.

    For example: `echofm finetune plan.toml --start runs/mae --out runs/ef`; after a power cut, the
    same with `--resume`.
    """
    from echofm_core.contract import Phase

    folder = _train(Phase.FINETUNE, plan, out, start, resume)
    typer.echo(f"model: {folder}")


def evaluate(
    model: Annotated[Path, typer.Argument(help="model.safetensors, its folder, or a run folder.")],
    roots: Annotated[list[Path], typer.Argument(help="Data folders, as downloaded.")],
    out: Annotated[Path, typer.Option(help="Folder for predictions and scores.")],
    everything: Annotated[
        bool, typer.Option(help="Use all clips: data that the model never saw.")
    ] = False,
    seen: Annotated[
        bool, typer.Option(help="Score patients whom the model was trained on, too.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(help="Run folder, or a site's state folder, with the record of its training."),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded clips.")] = None,
) -> None:
    """Score a model on labelled data, with intervals over patients.

    Clips are split as the model's own plan splits them, and the test part counts; a floor that
    needs no network, fitted on the training part, stands beside it. With --everything all clips
    count, which is right for an institution that took no part in training, and there is no floor.

    Patients whom the model was trained on are counted, and refused unless --seen is given (exit
    code 19). What is known of them stands in keyed hashes in the run folder of the training, or in
    the state folder of a site (--record), and never travels with a model: of one that was handed on
    the command says "unknown".

    For example: `echofm evaluate runs/ef ~/EchoNet-Pediatric --everything --out runs/external`.
    """
    from dataclasses import replace

    from echofm_core.plan.preflight import check_roots

    check_roots(roots)  # before anything that takes long to import

    from echofm_core.contract import Phase
    from echofm_core.data.manifest import Split
    from echofm_core.data.seen import find_record
    from echofm_core.institution.data import prepare
    from echofm_core.institution.outcome import write_evaluation
    from echofm_core.institution.testing import test_model
    from echofm_core.institution.unseen import overlap_of, rows_to_score
    from echofm_core.models.saved import load_model
    from echofm_core.plan.machine import MachineConfig
    from echofm_core.plan.protocol import ProtocolConfig
    from echofm_core.report.run_files import read_run
    from echofm_core.report.terminal import print_run
    from echofm_core.run_claim import refuse_run
    from echofm_core.runtime.console import console

    refuse_run(out)
    saved = load_model(model)
    machine = MachineConfig(roots=tuple(str(root.resolve()) for root in roots))
    protocol = saved.plan.protocol.model_copy(update={"datasets": ProtocolConfig().datasets})
    plan = saved.plan.model_copy(update={"machine": machine, "protocol": protocol})
    found = find_record(model, saved.plan.digest(), record)

    def count(manifest: pd.DataFrame) -> Overlap:
        return overlap_of(rows_to_score(saved, manifest, everything), found, allowed=seen)

    def look(manifest: pd.DataFrame) -> None:
        typer.echo(f"note: {count(manifest).note()}")

    data = prepare(plan, cache or out / "cache", look)
    clips = data.windows(None if everything else Split.TEST, plan, Phase.FINETUNE)
    taught = None if everything else data.windows(Split.TRAIN, plan, Phase.FINETUNE)
    test_model(saved, clips, "model", out, taught=taught)
    write_evaluation(out, saved, count(data.manifest))
    print_run(replace(read_run(out), plan=plan), console)
    typer.echo(f"scores: {out / 'scores.parquet'}")


def _train(phase: Phase, file: Path, out: Path, start: Path | None, resume: bool) -> Path:
    """Check, prepare the data, train a phase, and test what can predict."""
    from echofm_core.plan.preflight import check_words, require_machine
    from echofm_core.run_claim import held, load_runnable, look

    plan = load_runnable(file)  # before anything that takes long to import
    check_words(plan)

    from echofm_core.data.census import unlabelled_notes
    from echofm_core.data.seen import remember
    from echofm_core.institution.data import check_training, prepare
    from echofm_core.institution.outcome import conclude
    from echofm_core.institution.run_folder import RoundEntry, RunFolder
    from echofm_core.institution.training import check_privacy, config_of, train
    from echofm_core.report.run_files import read_run
    from echofm_core.report.terminal import print_run
    from echofm_core.runtime.console import console, progress
    from echofm_core.runtime.files import write_whole

    require_machine(plan)
    check_privacy(plan)
    weights, name = _weights(start, plan)
    look(out, plan, resume=resume, begun={"phase": phase.value, "start": name})
    cache = Path(plan.machine.cache) if plan.machine.cache else out / "cache"
    data = prepare(plan, cache, lambda manifest: check_training(manifest, plan, phase))
    check_training(data.manifest, plan, phase)
    with held(out), progress(phase.value, config_of(plan, phase).rounds) as meter:
        run = RunFolder.claim(out, phase, plan, name, resume)
        begun = start or (Path(plan.machine.start) if plan.machine.start else None)
        remember(out, data.manifest, plan, secret=plan.machine.secret, start=begun)
        write_whole(out / "findings.parquet", data.findings.table().to_parquet(index=False))
        typer.echo(f"{data.summary(plan, phase)} ({out / 'findings.parquet'})")
        for note in unlabelled_notes(data.manifest, plan) if phase == "finetune" else ():
            typer.echo(f"note: {note}")
        meter.advance(len(run.entries()))

        def show(entry: RoundEntry) -> None:
            shown = (name for name in ("loss", "validation") if name in entry.metrics)
            numbers = ", ".join(f"{name} {entry.metrics[name]:.4f}" for name in shown)
            meter.advance(1, note=f"round {entry.round}: {numbers}")

        folder = train(plan, data, run, start=weights, on_round=show)
    scores = conclude(plan, data, phase, out)
    if not scores.empty:
        print_run(read_run(out), console)
    return folder


def _weights(start: Path | None, plan: Plan) -> tuple[Weights | None, str]:
    """Starting weights, else those that the plan itself starts from, and their digest."""
    from echofm_core.contract import DECODER, ENCODER
    from echofm_core.models.checkpoints.start import check_start, start_weights
    from echofm_core.models.saved import load_weights
    from echofm_core.runtime.checksum import digest

    if start is None:
        weights = start_weights(plan, (ENCODER, DECODER))
        return (weights, digest(weights)) if weights else (None, "")
    check_start(start, plan)
    weights = load_weights(start)
    return weights, digest(weights)
