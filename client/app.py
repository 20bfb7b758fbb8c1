"""The Flower ClientApp: four questions that a server may ask, each answered or refused safely.

Heavy libraries load when a question comes: a hospital's node starts a new process for each.
Node config: ``site``, ``manifest``, ``store``, ``state`` and, by option, ``secret`` and the keys of
:class:`~echofm_core.training.config.ExecutionConfig`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.answers import answered
from client.wire import to_instruction, to_reply
from echofm_core.contract import Instruction
from echofm_core.plan.load import plan_from_json
from echofm_core.runtime.errors import PlanError

if TYPE_CHECKING:
    from client.site import Site
    from client.state import SiteState
    from echofm_core.plan.document import Plan

app = ClientApp()


@app.query("describe")
@answered
def describe(message: Message, context: Context) -> Message:
    """Who are you, and how much can you train on?"""
    from echofm_core.models.lora import require_adapters

    _, plan, site, _ = _open(message, context)
    require_adapters(plan.finetune)
    return to_reply(site.describe(), message)


@app.train("pretrain")
@app.train("finetune")
@answered
def train(message: Message, context: Context) -> Message:
    """Train one round, of masked auto-encoding or supervised."""
    from client.training import train
    from echofm_core.data.training_record import record_training

    instruction, plan, site, state = _open(message, context)
    secret, pinned = str(context.node_config.get("secret", "")), bool(plan.model.start)
    record_training(state.folder, site.manifest, plan.digest(), secret=secret, pinned=pinned)
    return to_reply(train(site, plan, instruction, state), message)


@app.evaluate("site")
@answered
def evaluate(message: Message, context: Context) -> Message:
    """Test the model on your own test patients."""
    from client.testing import evaluate as test

    instruction, plan, site, state = _open(message, context)
    return to_reply(test(site, plan, instruction, state), message)


def _open(message: Message, context: Context) -> tuple[Instruction, Plan, Site, SiteState]:
    """Check the instruction and open the site.

    Raises:
        PlanError: The plan is not valid, or is not the one that its hash names.
    """
    import torch

    from client.site import Site, setting
    from client.state import SiteState

    instruction = to_instruction(message)
    plan = plan_from_json(instruction.plan)
    if plan.digest() != instruction.plan_hash:
        raise PlanError(
            f"the plan from the server has hash {plan.digest()[:12]} here, the server says "
            f"{instruction.plan_hash[:12]}; install the same version of echofm-federated on both."
        )
    site = Site.open(context.node_config, plan)
    torch.set_num_threads(site.execution.threads)
    state = SiteState(Path(setting(context.node_config, "state")), instruction.run)
    return instruction, plan, site, state
