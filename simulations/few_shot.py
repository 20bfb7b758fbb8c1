"""What a few patients of a site are worth to a model that has not seen it.

The shipped model (the federation without a site, or that of a plan with ``protocol.unseen``) is
fine-tuned at that site on some of its training patients, and tested on its test patients, on whom
the model as it is was tested too. Patients are ranked by a key of (seed, site, patient): those of
a smaller number are among those of a larger one. Validation patients take no part, so no round is
chosen and the last one counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from echofm_core.contract import Weights
from echofm_core.data.manifest import Split, save_manifest
from echofm_core.data.patients import patient_keys
from echofm_core.evaluation.few_shot import FEW_SHOT
from echofm_core.evaluation.model_names import FEDERATED, LEAVE_ONE_OUT
from echofm_core.evaluation.score import COLUMNS, score
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import FederationConfig
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.randomness import stream, stream_key
from echofm_core.runtime.text import many
from echofm_core.tasks import TASKS
from server.events import OnEvent
from server.live_steps import OnStep, ignore_step
from simulations.arm_predictions import predictions_of
from simulations.arm_training import Training
from simulations.arms import Arm
from simulations.prepare import site_manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class FewShot:
    """One fine-tuning of a model at a site that it has not seen."""

    base: Arm
    """What trained the model."""
    site: str
    patients: tuple[str, ...]
    """Keys of the training patients; none: the model as it is."""

    @property
    def shots(self) -> int:
        """How many patients."""
        return len(self.patients)

    @property
    def arm(self) -> Arm:
        """Its training, at that site alone."""
        return Arm(
            name=f"shots:{self.site}:{self.shots}",
            model=self.base.model,
            train=(self.site,),
            test=(self.site,),
            tasks=self.base.tasks,
            trainers=1,
            given={self.site: f"_shots-{self.site}-{self.shots}"},
            pretrained=False,
        )

    def folder(self, run: Path) -> Path:
        """Its run folder."""
        return run / FEW_SHOT / f"{self.site}-{self.shots}"

    def plan(self, plan: Plan) -> Plan:
        """The plan's fine-tuning, by plain averaging of one, with all labels of these patients."""
        rounds = plan.evaluation.few_shot_rounds or plan.finetune.rounds
        rate = plan.evaluation.few_shot_learning_rate or plan.finetune.learning_rate
        own = {"rounds": rounds, "learning_rate": rate, "label_fraction": 1.0, "patience": 0}
        tables = {
            "finetune": plan.finetune.model_copy(update=own),
            "federation": FederationConfig(),
        }
        return self.arm.plan(plan).model_copy(update=tables)


def plan_shots(
    manifest: pd.DataFrame, plan: Plan, arms: Sequence[Arm]
) -> tuple[list[FewShot], list[str]]:
    """All that a plan asks for, and a sentence for each site with too few patients for some."""
    found, notes = list[FewShot](), list[str]()
    for base in arms:
        sites = base.test if base.model == LEAVE_ONE_OUT else ()
        if base.name == FEDERATED:
            sites = tuple(site for site in base.test if site in plan.protocol.unseen)
        for site in sites if plan.evaluation.few_shot else ():
            ranked = _ranked(manifest, plan, base, site)
            usable = [count for count in plan.evaluation.few_shot if count <= len(ranked)]
            found += [
                FewShot(base=base, site=site, patients=tuple(ranked[:count])) for count in usable
            ]
            if missing := [str(n) for n in plan.evaluation.few_shot if n not in usable]:
                notes.append(
                    f"{site} has {many(len(ranked), 'training patient')} with a label, so no model "
                    f"is fine-tuned there on {' or '.join(missing)}."
                )
    return found, notes


def _ranked(manifest: pd.DataFrame, plan: Plan, base: Arm, site: str) -> list[str]:
    """Keys of the site's training patients with a label for a task of the model, as drawn."""
    rows = manifest[(manifest["site"] == site) & (manifest["split"] == Split.TRAIN.value)]
    if plan.protocol.views:
        rows = rows[rows["view"].isin(list(plan.protocol.views))]
    columns = sorted({TASKS[task].column for task in base.tasks})
    people = patient_keys(rows[rows[columns].notna().any(axis=1)]).unique()

    def rank(person: str) -> int:
        return stream_key(plan.seed, site, 0, f"{FEW_SHOT}.{person}")

    return sorted(map(str, people), key=rank)


def train_shots(
    training: Training,
    few: FewShot,
    weights: Weights,
    on_event: OnEvent,
    on_step: OnStep = ignore_step,
) -> None:
    """Fine-tune a model on the patients, and keep its predictions in the folder of it.

    Args:
        training: Of the run.
        few: Which patients; some.
        weights: Of the model.

    Raises:
        FederationError: The site could not train, or not be tested.
    """
    run, folder = training.run, few.folder(training.run)
    save_patients(few, training.prepared.manifest, run)
    plan = few.plan(training.plan)
    own = replace(training, weights=weights, start=few.base.folder(run))
    own.fit(few.arm, plan, folder, on_event, on_step)
    rows = predictions_of(few.arm, folder, plan)
    write_whole(folder / "predictions.parquet", rows.to_parquet(index=False))


def save_patients(few: FewShot, manifest: pd.DataFrame, run: Path) -> None:
    """Write the manifest that a fine-tuning trains by: its patients' training clips."""
    (name,) = few.arm.given.values()
    chosen = patient_keys(manifest).isin(few.patients) & (manifest["split"] == Split.TRAIN.value)
    save_manifest(manifest[chosen].reset_index(drop=True), site_manifest(run, name))


def score_shots(shots: Sequence[FewShot], plan: Plan, run: Path) -> pd.DataFrame:
    """Write ``few_shot.parquet``: the scores of each number of patients at each site.

    Returns:
        Columns base (the model's arm), shots, site, task, metric, value, low, high, patients (test
        patients).
    """

    def rows(few: FewShot) -> pd.DataFrame:
        if few.shots:
            return pd.read_parquet(few.folder(run) / "predictions.parquet")
        name = few.base.name.replace(":", "-")
        return pd.read_parquet(run / "predictions" / f"{name}.parquet")

    return write_scores([(few, scored(few, rows(few), plan)) for few in shots], run)


def scored(few: FewShot, rows: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Scores of a model at the site of a fine-tuning, from its predictions."""
    rng = stream(plan.seed, "", 0, "bootstrap")  # as of all scores: the same patients are drawn
    own = rows[rows["site"] == few.site].drop(columns="model", errors="ignore")
    return score(own, plan.evaluation, rng, plan.finetune.reduced_ef_threshold)


def write_scores(found: Sequence[tuple[FewShot, pd.DataFrame]], run: Path) -> pd.DataFrame:
    """Write ``few_shot.parquet`` of these scores at each site, and return it."""
    tables = [
        scores[scores["site"] == few.site].assign(base=few.base.name, shots=few.shots)
        for few, scores in found
    ]
    tables = [part for part in tables if len(part)]
    empty = pd.DataFrame(columns=["base", "shots", *COLUMNS])
    table = pd.concat(tables, ignore_index=True) if tables else empty
    table = table[["base", "shots", *COLUMNS]]
    write_whole(shots_file(run), table.to_parquet(index=False))
    return table


def shots_file(run: Path) -> Path:
    """Where the scores of all numbers of patients are in a run folder."""
    return run / f"{FEW_SHOT}.parquet"
