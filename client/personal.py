"""Models that only one site has: Ditto's, trained each round, and the shipped one, tuned last.

Neither is ever sent. Both have streams and files of their own, so that the global model is the
same to the bit with or without them.
"""

from collections.abc import Iterator
from dataclasses import replace

from client.request import Request
from client.site import Site
from client.state import Own, SiteState
from echofm_core.contract import HEADS, Phase, Scored, Weights
from echofm_core.data.training_record import RECORD
from echofm_core.models.build import build_echo_model
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.weights import load_arrays, to_arrays
from echofm_core.plan.document import Plan
from echofm_core.training.execution.launch import train_round
from echofm_core.training.objectives.finetune import trunk_of
from echofm_core.training.objectives.phases import Model
from echofm_core.training.personal import LAST_MODES, PersonalConfig
from echofm_core.training.steps.job import LocalContext

#: Roles of these models: names of their streams and files.
PERSONAL, LAST_STEP = "personal", "last_step"


def train_personal(request: Request, model: Model, sent: Weights, context: LocalContext) -> None:
    """One round of Ditto: the site's own model, held near the weights that it was sent.

    It begins as the first global model that the site is sent; a head that the site has no labels
    for is always that of the global model, which is what holds it. The model is changed in place,
    and ends as it was sent.

    Args:
        request: The round.
        model: Of fine-tuning.
        sent: All of its weights, as the round begins.
        context: Of the global model's training.

    Source: Li et al. 2021, Ditto: Fair and Robust Federated Learning, algorithm 1; as many steps as
    the global model takes.
    """
    plan, state, number = request.plan, request.state, request.instruction.round
    trained = {*trunk_of(plan.finetune), HEADS}
    load_arrays(model, sent)
    anchor = to_arrays(model, trained)
    load_arrays(model, {**anchor, **state.own(Own.PERSONAL, number)})
    where = replace(
        context, role=PERSONAL, proximal_mu=plan.personal.ditto, anchor=anchor, control=False
    )
    report = train_round(model, request.site.train_clips(Phase.FINETUNE), plan, where)
    state.keep_own(Own.PERSONAL, to_arrays(model, list(report.counts)), number)
    load_arrays(model, sent)


def personal_models(
    site: Site, plan: Plan, sent: Weights, state: SiteState
) -> Iterator[tuple[Scored, EchoModel]]:
    """The models of a site that it is tested with beside the shipped one, if it has any.

    Args:
        sent: All weights of the shipped model, with what the site keeps of its own.
        state: Of the run.
    """
    if own := state.own(Own.PERSONAL, plan.finetune.rounds + 1):
        yield Scored.PERSONAL, _model(plan, {**sent, **own})
    # Patients of a site that trained in this run, and of no other, may be trained on.
    trained = (state.folder / RECORD).exists() and bool(site.describe().labels)
    if plan.personal.last_steps and trained:
        yield Scored.LAST_STEP, _last_step(site, plan, _model(plan, sent), state)


def _model(plan: Plan, weights: Weights) -> EchoModel:
    model = build_echo_model(plan)
    load_arrays(model, weights)
    return model


def _last_step(site: Site, plan: Plan, model: EchoModel, state: SiteState) -> EchoModel:
    """A model after its last steps on a site's own training patients."""
    asked = plan.personal
    table = plan.finetune.model_copy(
        update={
            "rounds": 1,
            "warmup_rounds": 0.0,
            "local_steps": asked.last_steps,
            "local_epochs": 1,
            "learning_rate": asked.last_learning_rate,
            "mode": LAST_MODES[asked.last_groups],
            "keep_optimizer": False,
        }
    )
    short = plan.model_copy(update={"finetune": table, "personal": PersonalConfig()})
    context = LocalContext(
        seed=plan.seed,
        site=site.name,
        round=1,
        rounds=1,
        execution=site.execution,
        state=state.folder,
        role=LAST_STEP,
    )
    train_round(model, site.train_clips(Phase.FINETUNE), short, context)
    return model
