from __future__ import annotations

import re
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from client.answers import answered, reason_of
from echofm_core.runtime.errors import EchoFMError, StoreError
from simulations.flower_private import become_server, deliver, fresh_context

PATIENT = "Doe^John"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return fresh_context(
        5, {"site": "a", "state": str(tmp_path / "state"), "store": f"/srv/{PATIENT} archive"}
    )


@pytest.fixture
def message() -> Message:
    become_server()
    return deliver(Message(RecordDict({"c": ConfigRecord()}), 5, "train.pretrain"), "m1")


def reason(reply: Message) -> str:
    """The sentence behind the error's code and reference."""
    found = re.fullmatch(r"error \d+, reference [0-9a-f]{8}: (.*)", reply.error.reason)
    assert found
    return found[1]


def _fail(error: Exception) -> object:
    @answered
    def handler(message: Message, context: Context) -> Message:
        raise error

    return handler


def test_a_foreign_error_tells_its_class_and_no_more(
    message: Message, context: Context, tmp_path: Path
) -> None:
    """decord, pandas and the rest put paths and values into their messages."""
    handler = _fail(RuntimeError(f"cannot open /archive/{PATIENT}/echo.dcm"))
    reply = handler(message, context)  # type: ignore[operator]
    assert reply.has_error() and reply.error.code == 2
    expected = "RuntimeError; the traceback is in site.log of the site's state folder."
    assert reason(reply) == expected
    log = (tmp_path / "state" / "site.log").read_text()
    assert PATIENT in log and "Traceback" in log and "train.pretrain failed" in log


def test_a_simulated_site_names_its_log_in_the_run_folder(
    message: Message, context: Context
) -> None:
    """As whoever plays it calls it; no path of the machine."""
    context.node_config["log"] = "sites/a/site.log of the run folder"
    reply = _fail(KeyError(PATIENT))(message, context)  # type: ignore[operator]
    expected = "KeyError; the traceback is in sites/a/site.log of the run folder."
    assert reason(reply) == expected


def test_our_own_sentence_passes_without_places(message: Message, context: Context) -> None:
    error = StoreError(f"clip store /srv/{PATIENT} archive/echonet is damaged; build it again.")
    reply = _fail(error)(message, context)  # type: ignore[operator]
    assert PATIENT not in reply.error.reason
    assert reason(reply).startswith("StoreError: clip store [path]")
    assert reply.error.reason.endswith("is damaged; build it again.")


def test_a_lone_slash_is_no_place(message: Message, context: Context) -> None:
    error = StoreError("delta is 1e-5, expected below 1 / patients of /srv/x.")
    reply = _fail(error)(message, context)  # type: ignore[operator]
    expected = "StoreError: delta is 1e-5, expected below 1 / patients of [path]"
    assert reason(reply) == expected


def test_a_good_answer_is_left_alone(message: Message, context: Context) -> None:
    reply = Message(RecordDict(), reply_to=message)
    assert answered(lambda m, c: reply)(message, context) is reply


@settings(max_examples=50, deadline=None)
@given(st.lists(st.from_regex(r"[A-Za-z^0-9]{1,8}", fullmatch=True), min_size=2, max_size=5))
def test_no_word_with_a_separator_ever_passes(parts: list[str]) -> None:
    context = fresh_context(5, {"site": "a"})
    for separator in "/\\":
        secret = separator.join(parts)
        assert secret not in reason_of(EchoFMError(f"file {secret} is bad"), context)
