"""The Flower ClientApp: four questions that a server may ask, each answered or refused safely.

Heavy libraries load when a question comes: a hospital's node starts a new process for each.
Node config: ``site``, ``manifest``, ``store``, ``state``, ``settings`` (path of ``site.toml``, for
its policy; a simulated site has ``simulated`` instead, and by option ``log``, as messages call its
log) and, by option, ``secret`` and the keys of
:class:`~echofm_core.training.config.ExecutionConfig`.
"""

from dataclasses import replace

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.answers import answered
from client.audit import audited, note
from client.wire import to_reply
from echofm_core.runtime.installed_code import software

app = ClientApp()


@app.query("describe")
@audited
@answered
def describe(message: Message, context: Context) -> Message:
    """Who are you, and how much can you train on?"""
    from client.request import open_request
    from echofm_core.models.lora import require_adapters

    with open_request(message, context) as request:
        require_adapters(request.plan.finetune)
        site = request.site
        about = site.describe()
        about = replace(about, released=request.policy.released, min_patients=site.min_patients)
    if context.node_config.get("simulated") is not True:
        about = replace(about, software=software())
    return to_reply(request.attested(about), message)


@app.train("pretrain")
@app.train("finetune")
@audited
@answered
def train(message: Message, context: Context) -> Message:
    """Train one round, of masked auto-encoding or supervised; or give the reply of before again."""
    from client.request import open_request
    from client.training import train
    from echofm_core.data.training_record import record_training

    with open_request(message, context) as request:
        site, plan, phase = request.site, request.plan, request.instruction.phase
        request.policy.check_work(plan, phase, len(site.train_clips(phase)))
        if kept := request.kept_reply():
            note(context, "again", True)
            return to_reply(request.attested(request.policy.released_update(kept)), message)
        secret, pinned = str(context.node_config.get("secret", "")), bool(plan.model.start)
        folder = request.state.folder
        record_training(folder, site.manifest, plan.digest(), secret=secret, pinned=pinned)
        update = request.policy.released_update(train(request))
        request.keep_reply(update)
    return to_reply(request.attested(update), message)


@app.evaluate("site")
@audited
@answered
def evaluate(message: Message, context: Context) -> Message:
    """Test the model on your own test patients."""
    from client.request import open_request
    from client.testing import evaluate as test

    with open_request(message, context) as request:
        request.state.count_evaluation(request.policy.max_evaluations)
        result = test(request.site, request.plan, request.instruction, request.state)
    return to_reply(request.attested(request.policy.released_result(result)), message)
