"""The two phases: which model each trains, and this process's part of a round."""

from echofm_core.contract import Phase
from echofm_core.data.windows import ClipWindows
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.plan.document import Plan
from echofm_core.training.context import LocalContext, RoundReport
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.objectives.pretrain import pretrain_round

#: What each phase trains.
Model = MaskedAutoencoder | EchoModel


def phase_of(model: Model) -> Phase:
    """The phase that trains such a model."""
    return Phase.PRETRAIN if isinstance(model, MaskedAutoencoder) else Phase.FINETUNE


def own_round(model: Model, clips: ClipWindows, plan: Plan, context: LocalContext) -> RoundReport:
    """This process's part of a round, which is all of it where ``context.ranks`` is alone."""
    if isinstance(model, MaskedAutoencoder):
        return pretrain_round(model, clips, plan.pretrain, context)
    return finetune_round(model, clips, plan.finetune, context)
