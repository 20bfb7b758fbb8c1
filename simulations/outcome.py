"""What a run on this machine leaves beside its model: floor, scores, summary, card and report."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from client.site import Site
from echofm_core import __version__
from echofm_core.contract import Phase
from echofm_core.data.manifest import load_manifest
from echofm_core.data.prepare import Prepared
from echofm_core.data.splits import split_digest
from echofm_core.data.store.clip_store import open_stores
from echofm_core.evaluation.floor import floor_predictions
from echofm_core.evaluation.model_names import FLOOR
from echofm_core.phantom.patients import is_phantom
from echofm_core.plan.document import Plan
from echofm_core.privacy.config import open_rounds, spent
from echofm_core.report.card import write_card
from echofm_core.report.page import write_report
from echofm_core.report.run_files import read_run
from echofm_core.report.run_scores import score_models
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.names import EVERY_SITE
from server.ending import FederationResult
from simulations.prepare import pooled_manifest, site_manifest

#: Packages whose versions a run keeps.
PACKAGES = ("flwr", "torch", "timm", "opacus", "pydicom")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a run leaves behind.

    Attributes:
        run: The run folder.
        scores: Columns model, site, task, metric, value, low, high, patients.
        digest: Digest of the model that the run is about.
        notes: What a reader of the table must know and has not read before training.
    """

    run: Path
    scores: pd.DataFrame
    digest: str
    notes: tuple[str, ...]


def conclude(
    plan: Plan,
    run: Path,
    result: FederationResult,
    *,
    model: str,
    origin: str,
    seconds: float,
    synthetic_sites: bool = False,
    notes: Sequence[str] = (),
    warned: Sequence[str] = (),
) -> Outcome:
    """Score all predictions of a run, and write ``summary.json``, the card and the report.

    Args:
        plan: What was run.
        run: Its folder; tables, predictions and ``model/`` are there.
        result: Of the model that the run is about.
        model: That model's name in the table of scores.
        origin: What the card says of the data.
        seconds: How long the run took, over all its sessions.
        synthetic_sites: Whether sites were dealt out by a draw.
        notes: What a reader of the numbers must know.
        warned: What was printed before training and belongs to the numbers too.
    """
    scores = score_models(read_run(run).predictions, plan, run)
    summary = {
        **identity(plan),
        "digest": result.digest,
        "split_sha256": split_digest(load_manifest(site_manifest(run, EVERY_SITE))),
        "seconds": seconds,
        "origin": origin,
        "synthetic_sites": synthetic_sites,
        "notes": [
            *(*warned, *notes, *result.notes, *result.warnings),
            *open_rounds(result.metrics),
        ],
        "training_notes": list(result.warnings),
        "privacy": spent(result.metrics, plan.privacy.delta),
    }
    write_whole(run / "summary.json", json.dumps(summary, indent=1).encode())
    write_card(read_run(run), model)
    write_report(run)
    return Outcome(run=run, scores=scores, digest=result.digest, notes=tuple(notes))


def identity(plan: Plan) -> dict[str, object]:
    """What a summary says of any run of a plan on this machine."""
    return {
        "name": plan.name,
        "plan_hash": plan.digest(),
        "unseen": list(plan.protocol.unseen),
        "synthetic": any(is_phantom(Path(root)) for root in plan.machine.roots),
        "versions": {
            "echofm-federated": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    }


def write_floor(plan: Plan, run: Path, prepared: Prepared) -> None:
    """Fit the floor at each site on what it fine-tunes on, and write its test predictions.

    At a site that no model sees, it is the one of the other sites' training clips, all together.
    ``predictions/no_network.parquet`` is whole or not there; a plan without fine-tuning, and sites
    without enough labels for any task, have none.
    """
    if not plan.finetune.rounds:
        return
    store = open_stores(prepared.stores)

    def opened(name: str, manifest: Path) -> Site:
        return Site(
            name=name,
            manifest=load_manifest(manifest),
            store=store,
            data=plan.data,
            finetune=plan.finetune,
            seed=plan.seed,
            views=plan.protocol.views,
        )

    parts, pooled = [], opened(EVERY_SITE, pooled_manifest(run, plan))
    for name in prepared.site_names():
        site = opened(name, site_manifest(run, name))
        learner = pooled if name in plan.protocol.unseen else site
        train, test = learner.train_clips(Phase.FINETUNE), site.test_clips()
        parts.append(floor_predictions(train, test, plan.finetune, seed=plan.seed, site=name))
    if any(len(part) for part in parts):
        out = run / "predictions" / f"{FLOOR}.parquet"
        table = pd.concat([part for part in parts if len(part)], ignore_index=True)
        write_whole(out, table.assign(model=FLOOR).to_parquet(index=False))
