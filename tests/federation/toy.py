"""A ClientApp without a model: it moves what it gets by numbers that are drawn from its site name.

Misbehaviour is asked for in the site's name: ``nan``, ``shape``, ``raise``, ``late``, ``die`` ...
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import flwr.app
import numpy as np
from flwr.app import ArrayRecord, Context, Error, Message
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from client.wire import to_instruction, to_reply
from echofm_core.contract import (
    CONTROL,
    CONTROL_ROUND,
    Phase,
    Record,
    Score,
    SiteDescription,
    SiteResult,
    Update,
    group_of,
)
from echofm_core.data.formats.bfloat16 import as_float32, to_bfloat16
from echofm_core.data.formats.npy import unpack
from echofm_core.runtime.checksum import checksum, digest
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import Task
from echofm_core.wire import encode, to_array, to_records

app = ClientApp()

#: Clips of every toy site, by group.
CLIPS = 10
#: Site -> metrics that no site's own code makes.
METRICS = {
    "bigloss": {"loss": 1.7e308},
    "infloss": {"loss": float("inf")},
    "manymetrics": {f"loss/{number}": 1.0 for number in range(50_000)},
    "negative": {"seconds": -1.0},
    "ownmetric": {"update_norm": 0.0},
    "pathmetric": {"../../x": 1.0},
    "strangetask": {"loss/../x": 1.0},
}


@app.query("describe")
def describe(message: Message, context: Context) -> Message:
    """Ten clips, all with an EF."""
    site = str(context.node_config["site"])
    if "declines" in site:
        return Message(Error(2, "error 24, reference 0: not approved here."), reply_to=message)
    if "broken" in site:
        return Message(Error(2, "error 32, reference 0: the disk is full."), reply_to=message)
    about = SiteDescription(
        site=site,
        train_clips=10**18 if "describes" in site else CLIPS,
        train_patients=CLIPS,
        labels={"ef": CLIPS},
        test_labels={"ef": CLIPS},
        quarantined=0,
    )
    return to_reply(about, message)


@app.train("pretrain")
def pretrain(message: Message, context: Context) -> Message:
    """Add :func:`change` of this site to every array."""
    return _train(message, context, Phase.PRETRAIN)


@app.train("finetune")
def finetune(message: Message, context: Context) -> Message:
    """As pretrain."""
    return _train(message, context, Phase.FINETUNE)


@app.evaluate("site")
def evaluate(message: Message, context: Context) -> Message:
    """Every metric of EF is 0.5 on as many patients as there are clips, but for what a lie is."""
    from server.result_admission import metric_names

    site = str(context.node_config["site"])
    instruction = to_instruction(message)
    score = Score(value=0.5, low=0.4, high=0.6)
    scores = {f"federated/ef/{metric}": score for metric in metric_names(Task.EF)}
    if "inf" in site:
        scores["federated/ef/mae"] = replace(score, value=float("inf"))
    if "many" in site:
        scores |= {f"federated/ef/m{number}": score for number in range(50_000)}
    result = SiteResult(
        site="a" if "claims" in site else site,
        plan_hash=instruction.plan_hash,
        digest="0" * 64 if "othermodel" in site else digest(instruction.weights),
        patients={"ef": -3 if "negative" in site else CLIPS},
        scores=scores,
    )
    return to_reply(result, message)


def change(site: str, round_: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """What a site adds to an array in a round: drawn numbers, so that no two sums are alike.

    A site called ``still`` sends back what it got.
    """
    drawn = stream(7, site, round_, name).normal(size=shape).astype(np.float32)
    return np.zeros_like(drawn) if "still" in site else drawn


def _train(message: Message, context: Context, phase: Phase) -> Message:
    site = str(context.node_config["site"])
    instruction = to_instruction(message)
    if "raise" in site:
        raise RuntimeError("cannot open /hospital/Doe^John.dcm")
    if "once" in site:
        died = Path(str(context.node_config["state"])) / f"{site}-{instruction.round}-died"
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if "die" in site:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hangs" in site and instruction.round == 1:
        Path(os.environ["TOY_TRAINING"]).touch()
        time.sleep(3600)
    if "late" in site:
        time.sleep(5)
    record = ArrayRecord()  # an array at a time: a test counts the copies of a model in memory
    for name, before in instruction.weights.items():
        half = before.dtype == np.uint16
        drawn = change(site, instruction.round, name, before.shape)
        moved: NDArray[Any] = as_float32(before) + drawn
        moved = _misbehave(moved.astype(np.float32 if half else before.dtype, copy=False), site)
        moved = to_bfloat16(moved) if half else moved
        record[name] = to_array(moved, flwr.app)
    weights = {name: unpack(array.data) for name, array in record.items()}
    packed, extra = {Record.ARRAYS.value: record}, {}
    if CONTROL_ROUND in instruction.settings:
        extra = {f"{CONTROL}/{name}": _control(array, site) for name, array in weights.items()}
        own = {name: to_array(array, flwr.app) for name, array in extra.items()}
        packed[Record.EXTRA.value] = ArrayRecord(own)
    update = Update(
        site=site,
        phase=phase,
        round=instruction.round,
        plan_hash=instruction.plan_hash,
        weights={},
        counts={group_of(name): 10**18 if "counts" in site else CLIPS for name in weights},
        metrics={"loss": 1.0 / instruction.round, **METRICS.get(site, {})},
        checksum=checksum({**weights, **extra}),
    )
    return Message(to_records(encode(update), flwr.app, packed), reply_to=message)


def _control(weights: NDArray[np.floating], site: str) -> NDArray[np.float32]:
    """The change of a control variate: a tenth a number, or what the site's name asks for."""
    value = {"ctrlvoid": np.nan, "ctrlinf": np.inf, "ctrlbig": 1e6, "ctrlvast": 1e30}.get(site, 0.1)
    return np.full(weights.shape, value, np.float32)


def _misbehave(array: NDArray[np.floating], site: str) -> NDArray[np.floating]:
    """What the site's name asks for."""
    if "nan" in site:
        array.flat[0] = np.nan
    if "huge" in site:
        array *= np.float32(1e30)
    if "far" in site:  # 41 away, where others are about 4: see `change`
        array += np.float32(10)
    return array[..., :-1] if "shape" in site else array
