"""A ClientApp without a model: it moves what it gets by numbers that are drawn from its site name.

Misbehaviour is asked for in the site's name: ``nan``, ``shape``, ``raise``, ``late``, ``die`` ...
"""

from __future__ import annotations

import os
import signal
import time

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from echofm_core.contract import SCHEMA_VERSION, group_of
from echofm_core.data.formats.npy import pack, unpack
from echofm_core.runtime.checksum import checksum, digest
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import Task

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
    """Add :func:`change` of this site to every array."""
    return _train(message, context, "pretrain")


@app.train("finetune")
def finetune(message: Message, context: Context) -> Message:
    """As pretrain."""
    return _train(message, context, "finetune")


@app.evaluate("site")
def evaluate(message: Message, context: Context) -> Message:
    """Every metric of EF is 0.5 on as many patients as there are clips, but for what a lie is."""
    from server.result_admission import metric_names

    site = str(context.node_config["site"])
    config = message.content["config"]
    weights = {name: unpack(array.data) for name, array in message.content["arrays"].items()}
    score = {"": 0.5, "/low": 0.4, "/high": 0.6, "/p": float("nan")}
    names = [f"federated/ef/{metric}" for metric in metric_names(Task.EF)]
    numbers = {f"{name}{end}": value for name in names for end, value in score.items()}
    if "inf" in site:
        numbers["federated/ef/mae"] = float("inf")
    if "many" in site:
        numbers |= {f"federated/ef/m{number}": 1.0 for number in range(200_000)}
    reply = {
        "schema": SCHEMA_VERSION,
        "site": "a" if "claims" in site else site,
        "plan-hash": config["plan-hash"],
        "digest": "0" * 64 if "othermodel" in site else digest(weights),
        "count-names": ["ef"],
        "count-values": [-3 if "negative" in site else CLIPS],
    }
    content = RecordDict({"config": ConfigRecord(reply), "metrics": MetricRecord(numbers)})
    return Message(content, reply_to=message)


def change(site: str, round_: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """What a site adds to an array in a round: drawn numbers, so that no two sums are alike.

    A site called ``still`` sends back what it got.
    """
    drawn = stream(7, site, round_, name).normal(size=shape).astype(np.float32)
    return np.zeros_like(drawn) if "still" in site else drawn


def _train(message: Message, context: Context, phase: str) -> Message:
    site = str(context.node_config["site"])
    config = message.content["config"]
    round_ = config["round"]
    if "raise" in site:
        raise RuntimeError("cannot open /hospital/Doe^John.dcm")
    if "die" in site:
        os.kill(os.getpid(), signal.SIGKILL)
    if "late" in site:
        time.sleep(5)
    arrays = ArrayRecord()
    for name, array in message.content["arrays"].items():
        before = unpack(array.data)
        moved = (before + change(site, round_, name, before.shape)).astype(array.dtype, copy=False)
        arrays[name] = _array(_misbehave(moved, site))
    weights = {name: unpack(array.data) for name, array in arrays.items()}
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
    metrics = MetricRecord({"loss": 1.0 / round_})
    content = RecordDict({"arrays": arrays, "config": ConfigRecord(reply), "metrics": metrics})
    return Message(content, reply_to=message)


def _misbehave(array: NDArray[np.floating], site: str) -> NDArray[np.floating]:
    """What the site's name asks for."""
    if "nan" in site:
        array.flat[0] = np.nan
    return array[..., :-1] if "shape" in site else array


def _array(array: NDArray[np.floating]) -> Array:
    return Array(str(array.dtype), array.shape, "numpy.ndarray", pack(array))
