"""The global model on a site's own test patients: predictions stay, metrics leave."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from client.personal import personal_models
from client.site import Site
from client.state import Own, SiteState, predictions_file, validation_file
from echofm_core.contract import Instruction, Phase, Score, Scored, SiteResult, score_name
from echofm_core.data.windows import ClipWindows
from echofm_core.evaluation.floor import floor_predictions
from echofm_core.evaluation.paired import compare
from echofm_core.evaluation.score import labelled_tasks, score
from echofm_core.models.build import build_echo_model
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.lora import merged
from echofm_core.models.saved import save_model
from echofm_core.models.weights import all_arrays, load_arrays
from echofm_core.plan.document import Plan
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import TASKS, Task, TaskKind
from echofm_core.training.predict import predict

#: Folder of a run's state with the model that is the site's own.
OWN_MODEL = "model"
#: Columns of a score table that leave the site, in this order.
_SENT = ["task", "metric", "value", "low", "high", "p"]


def evaluate(site: Site, plan: Plan, instruction: Instruction, state: SiteState) -> SiteResult:
    """Predict, keep ``predictions.parquet`` in the state folder, and score.

    Predictions of validation patients are kept beside them, for conformal intervals and for the
    choice of a study; nothing of them is scored or sent.
    Where the server asks for it (``settings["floor"]``), the floor that needs no network is fitted
    on the site's own training patients and scored beside the model, with the difference of the two.
    Not in private training: it is fitted without noise, and its scores would tell of the patients.
    A score that rests on a class of fewer than ``site.min_patients`` patients is not defined.

    Tested is the model with what the site keeps of its own, where it trained any; that one is left
    in the state folder, for the site to predict with. Models that the site has beside it are tested
    too, each under its name.
    """
    model = build_echo_model(plan)
    personal = state.own(Own.LOCAL, plan.finetune.rounds + 1)
    load_arrays(model, merged({**instruction.weights, **personal}, plan.finetune.lora))
    sent = all_arrays(model)
    if personal:
        save_model(state.folder / OWN_MODEL, sent, plan, map(Task, site.describe().labels))
    evaluation, threshold = plan.evaluation, plan.finetune.reduced_ef_threshold

    def draws(purpose: str) -> np.random.Generator:
        # Named without the site: every model that meets these patients draws the same ones.
        return stream(plan.seed, "", 0, purpose)

    def kept(table: pd.DataFrame, model: str = "") -> pd.DataFrame:
        write_whole(state.folder / predictions_file(model), table.to_parquet(index=False))
        # All rows are this site's own, whatever its manifest calls the places they come from.
        return table.assign(site=site.name)

    def scored(table: pd.DataFrame) -> pd.DataFrame:
        return score(table, evaluation, draws("bootstrap"), threshold)

    def hold(model: EchoModel, name: str = "") -> None:
        held = _predicted(model, site.validation_clips(Phase.FINETUNE), site, plan)
        write_whole(state.folder / validation_file(name), held.to_parquet(index=False))

    clips = site.test_clips()
    hold(model)
    own = kept(_predicted(model, clips, site, plan))
    tables = {Scored.MODEL: scored(own)}
    for name, other in personal_models(site, plan, sent, state):
        hold(other, name)
        tables[name] = scored(kept(_predicted(other, clips, site, plan), name))
    if instruction.settings.get("floor") and plan.privacy.kind is PrivacyKind.NONE:
        train = site.train_clips(Phase.FINETUNE)
        table = floor_predictions(train, clips, plan.finetune, seed=plan.seed, site=site.name)
        floor, paired = kept(table, Scored.FLOOR), draws("bootstrap.paired")
        tables[Scored.FLOOR] = scored(floor)
        tables[Scored.DIFFERENCE] = compare(own, floor, evaluation, paired, threshold)
    small = small_classes(own, site.min_patients, threshold)
    tables = {
        tested: _without(small, rows[rows["site"] == site.name]) for tested, rows in tables.items()
    }
    by_task = tables[Scored.MODEL].groupby("task")
    return SiteResult(
        site=site.name,
        plan_hash=instruction.plan_hash,
        digest=digest(instruction.weights),
        patients={str(task): int(part["patients"].iloc[0]) for task, part in by_task},
        scores={
            score_name(tested, task, metric): Score(*map(float, numbers))
            for tested, rows in tables.items()
            for task, metric, *numbers in rows.reindex(columns=_SENT).itertuples(index=False)
        },
    )


def _predicted(model: EchoModel, clips: ClipWindows, site: Site, plan: Plan) -> pd.DataFrame:
    """Predictions of clips of a site."""
    batch, device = plan.finetune.batch_size, site.execution.device
    return predict(model, clips, plan.finetune, batch_size=batch, device=device)


def small_classes(predictions: pd.DataFrame, least: int, threshold: float) -> dict[str, str]:
    """Task -> its metric, or all (``*``), that rests on a class of fewer patients than ``least``.

    An AUC, an F1 or a prevalence over one patient with the disease tells of that patient, however
    many there are without it.

    Args:
        predictions: Rows of :func:`echofm_core.training.predict.predict`.
        least: Fewest patients of each class; 1: whatever there is.
        threshold: EF in percent below which it is reduced.
    """
    found = {}
    for task, cases in labelled_tasks(predictions) if least > 1 else ():
        regression = TASKS[task].kind is TaskKind.REGRESSION
        if regression and task is not Task.EF:
            continue
        classes = cases.truth < threshold if regression else cases.truth
        sizes = [len(np.unique(cases.patients[classes == each])) for each in np.unique(classes)]
        if len(sizes) < 2 or min(sizes) < least:
            found[task.value] = "reduced_auc" if regression else "*"
    return found


def _without(small: Mapping[str, str], table: pd.DataFrame) -> pd.DataFrame:
    """A score table, not defined where a class is too small."""
    hidden = table["task"].map(small)
    numbers = [name for name in _SENT[2:] if name in table]
    rows = (hidden == "*") | (hidden == table["metric"])
    return table.assign(**{name: table[name].mask(rows) for name in numbers})
