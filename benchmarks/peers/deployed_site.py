"""The site of ``benchmarks.deployment``: a ClientApp, without torch, that answers both servers."""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.peers.deployed_arrays import with_noise
from client.wire import make_update, to_instruction, to_reply

app = ClientApp()


@app.train("pretrain")
def ours(message: Message, context: Context) -> Message:
    """A round as our server asks for it; what leaves has the number format in which it came."""
    instruction = to_instruction(message)
    formats = {name: array.dtype for name, array in instruction.weights.items()}
    trained = with_noise(instruction.weights)
    update = make_update(
        site=str(context.node_config["site"]),
        instruction=instruction,
        weights={name: trained[name].astype(form, copy=False) for name, form in formats.items()},
        counts={"encoder": 10},
        metrics={"loss": 0.1},
    )
    return to_reply(update, message)


@app.train()
def stock(message: Message, context: Context) -> Message:
    """A round as a stock strategy of Flower asks for it."""
    record = message.content.array_records["arrays"]
    trained = with_noise({name: array.numpy() for name, array in record.items()})
    arrays = ArrayRecord({name: Array(array) for name, array in trained.items()})
    metrics = MetricRecord({"num-examples": 10})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
