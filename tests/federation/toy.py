"""A ClientApp without a model: it moves what it gets by a number that its site name decides.

Misbehaviour is asked for in the site's name: ``nan``, ``shape``, ``raise``, ``late``, ``die`` ...
"""

from __future__ import annotations

import os
import signal
import time

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from echofm_core.checksum import checksum
from echofm_core.contract import SCHEMA_VERSION, group_of
from echofm_core.npy import pack, unpack

app = ClientApp()

#: Clips of every toy site, by group.
CLIPS = 10


@app.query("describe")
def describe(message: Message, context: Context) -> Message:
    """Ten clips, all with an EF."""
    config = {
        "schema": SCHEMA_VERSION,
        "site": str(context.node_config["site"]),
        "train-clips": CLIPS,
        "train-patients": CLIPS,
        "quarantined": 0,
        "label-names": ["ef"],
        "label-values": [CLIPS],
        "test-label-names": ["ef"],
        "test-label-values": [CLIPS],
    }
    return Message(RecordDict({"config": ConfigRecord(config)}), reply_to=message)


@app.train("pretrain")
def pretrain(message: Message, context: Context) -> Message:
    """Add :func:`step` of this site to every number."""
    return _train(message, context, "pretrain")


@app.train("finetune")
def finetune(message: Message, context: Context) -> Message:
    """As pretrain."""
    return _train(message, context, "finetune")


def step(site: str, round_: int) -> float:
    """What a site adds in a round."""
    return (sum(site.encode()) % 97) / 100 * round_


def _train(message: Message, context: Context, phase: str) -> Message:
    site = str(context.node_config["site"])
    config = message.content["config"]
    round_ = config["round"]
    if "raise" in site:
        raise RuntimeError("cannot open /hospital/Doe^John.dcm")
    if "die" in site:
        os.kill(os.getpid(), signal.SIGKILL)
    if "late" in site:
        time.sleep(3)
    weights = {
        name: (unpack(array.data) + np.float32(step(site, round_))).astype(array.dtype)
        for name, array in message.content["arrays"].items()
    }
    if "nan" in site:
        next(iter(weights.values())).flat[0] = np.nan
    if "shape" in site:
        name = next(iter(weights))
        weights[name] = weights[name][..., :-1]
    counts = {group_of(name): CLIPS for name in weights}
    reply = {
        "schema": SCHEMA_VERSION,
        "site": site,
        "phase": phase,
        "round": round_,
        "plan-hash": config["plan-hash"],
        "checksum": checksum(weights),
        "count-names": list(counts),
        "count-values": list(counts.values()),
    }
    arrays = {
        name: Array(str(array.dtype), array.shape, "numpy.ndarray", pack(array))
        for name, array in weights.items()
    }
    metrics = MetricRecord({"loss": step(site, round_)})
    content = RecordDict(
        {"arrays": ArrayRecord(arrays), "config": ConfigRecord(reply), "metrics": metrics}
    )
    return Message(content, reply_to=message)
