"""A local round of either phase, on one device of this machine or on several."""

from echofm_core.data.windows import ClipWindows
from echofm_core.plan.document import Plan
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.errors import PrivacyError
from echofm_core.training.execution.launch import shared_round
from echofm_core.training.objectives.phases import Model, own_round
from echofm_core.training.steps.job import LocalContext, RoundReport


def train_round(model: Model, clips: ClipWindows, plan: Plan, context: LocalContext) -> RoundReport:
    """Train one round; the model is changed in place.

    Args:
        model: Of the plan.
        clips: Training windows of the site, as the plan cuts them.
        plan: Uses the table of the model's phase.
        context: Where in the federation this round stands. Where its ``execution`` names several
            devices, they share each batch; the result is the same up to rounding.

    Raises:
        EmptySiteError: There are no clips, or none has a label.
        TrainingError: The loss stays non-finite, or a process of several ended before its time.
        PrivacyError: Privacy was asked for and cannot be had, or its budget is spent.
        EnvironmentClashError: There are fewer devices than that.
    """
    devices = context.execution.devices
    if devices == 1:
        return own_round(model, clips, plan, context)
    if context.privacy.kind is not PrivacyKind.NONE:
        raise PrivacyError(
            f"site {context.site} has devices = {devices}, but a private round draws its noise "
            "once and runs on one device; set devices = 1."
        )
    return shared_round(model, clips, plan, context)
