"""Fails loudly when Flower moves what ``simulations/flower_private.py`` takes from it."""

from __future__ import annotations

import subprocess
import sys

import flwr
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode

from client.answers import RAISED
from simulations import flower_private as private


def _instruction() -> Message:
    private.become_server()
    arrays = ArrayRecord({"x": Array(np.ones(3, np.float32))})
    content = RecordDict({"config": ConfigRecord({"round": 1}), "arrays": arrays})
    return Message(content, 5, "train.pretrain", ttl=60.0, group_id="1")


def test_flower_still_refuses_messages_outside_of_its_processes() -> None:
    """If this passes without us, ``become_server`` can go."""
    code = (
        "from flwr.app import Message, RecordDict\n"
        "try: Message(RecordDict(), 1, 'train')\n"
        "except RuntimeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "TaskIdentity.run_id is not set" in done.stdout, f"flwr {flwr.__version__} moved"


def test_a_delivered_message_has_an_id_and_records_of_its_own() -> None:
    message = _instruction()
    delivered = private.deliver(message, "m7")
    assert delivered.metadata.message_id == "m7"
    assert delivered.metadata.dst_node_id == 5
    assert delivered.metadata.message_type == "train.pretrain"
    assert delivered.metadata.group_id == "1"
    data = message.content["arrays"]["x"].data
    assert delivered.content["arrays"]["x"].data is data, "bytes must be shared"
    delivered.content["arrays"].pop("x")
    delivered.content["config"]["round"] = 9
    assert "x" in message.content["arrays"] and message.content["config"]["round"] == 1


def test_replies_name_the_message_they_answer() -> None:
    reply = Message(RecordDict(), reply_to=private.deliver(_instruction(), "m7"))
    assert reply.metadata.reply_to_message_id == "m7"
    assert reply.metadata.src_node_id == 5


def test_messages_come_out_of_an_envelope_as_they_went_in() -> None:
    message = private.deliver(_instruction(), "m1")
    assert private.unseal(private.seal(message)).content == message.content
    failed = Message(Error(2, "why"), reply_to=message)
    again = private.unseal(private.seal(failed))
    assert again.has_error() and again.error == Error(2, "why")
    assert again.metadata.reply_to_message_id == "m1"


def test_error_codes_are_flowers() -> None:
    assert ErrorCode.CLIENT_APP_RAISED_EXCEPTION == RAISED
    assert ErrorCode.CLIENT_APP_CRASHED == private.CLIENT_APP_CRASHED


def test_contexts_share_nothing() -> None:
    config: private.NodeConfig = {"site": "a"}
    first, second = private.fresh_context(1, config), private.fresh_context(1, config)
    first.node_config["site"] = "b"
    first.state["kept"] = ConfigRecord({"x": 1})
    assert second.node_config["site"] == "a" and config["site"] == "a"
    assert "kept" not in second.state
