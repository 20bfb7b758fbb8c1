"""The site's audit: what it was asked, and what left it, a line a message.

Symptom: nobody at the hospital can say what has left it, or show that the list is whole. Reason: a
log can be edited, and what was meant to be sent is not what was sent. Protocol: the line is made of
the reply itself, and is on the disk before the reply leaves; a reply whose line cannot be written
is not sent. Lines are chained by hashes, and the hash of the last one travels with each answer and
stays in the coordinator's run folder. What can still go wrong: lines that came after the last
answer can be cut from the end unseen; and a refusal because of the audit itself has no line in it.
"""

import functools
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flwr.app
from flwr.app import ConfigRecord, Context, Message

from client.answers import Handler, refusal
from echofm_core.contract import Record, Update, Weights, group_of
from echofm_core.privacy.config import LEDGER
from echofm_core.runtime.chained_log import BrokenChainError, ChainedLog
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import AuditError, EchoFMError
from echofm_core.runtime.files import FULL, owners_alone
from echofm_core.runtime.names import name_fault
from echofm_core.wire import from_records

#: Name of the file in the site's state folder.
FILE = "audit.jsonl"
#: Record of a context, for as long as a message is answered: what its line says beside.
NOTES = "notes"
#: Keys of an answer's config.
AUDIT_HEAD, LEDGER_HEAD = "audit-head", "ledger-head"


def audited(handler: Handler) -> Handler:
    """Write down each message and its reply before the reply leaves; simulated sites write none.

    An audit that is damaged is found before the handler does anything.
    """

    @functools.wraps(handler)
    def kept(message: Message, context: Context) -> Message:
        if context.node_config.get("simulated") is True:
            return handler(message, context)
        try:
            with owners_alone():
                audit = open_chain(_state(context) / FILE)
                reply = handler(message, context)
                notes = context.state.pop(NOTES) if NOTES in context.state else ConfigRecord()
                _write(audit, message, reply, {**notes})
        except EchoFMError as error:
            return refusal(error, message, context)
        return reply

    return kept


def note(context: Context, name: str, value: str | bool) -> None:
    """Note something for this message's line, such as that the reply was kept, and is sent again.

    It stays at the site.
    """
    notes = context.state.setdefault(NOTES, ConfigRecord())
    assert isinstance(notes, ConfigRecord)
    notes[name] = value


def write_act(state: Path, act: str, sentence: str, run: str = "") -> None:
    """Write down what the hospital itself did with its data, durably; never with whom.

    Args:
        state: Folder of the audit.
        act: In a word, such as ``withdraw``.
        run: Which it was about; "" for all.

    Raises:
        AuditError: It cannot be written, or was changed.
    """
    about = {"action": act, "run": run, "plan": "", "round": 0}
    _append(open_chain(state / FILE), {**about, "outcome": "done", "sentence": sentence})


def open_chain(path: Path) -> ChainedLog:
    """The audit or the privacy ledger of a site, its chain checked; it need not be there yet.

    Raises:
        AuditError: It was changed, or cannot be read.
    """
    try:
        return ChainedLog(path)
    except (OSError, BrokenChainError) as error:
        raise _unusable(path, error) from None


def _write(audit: ChainedLog, message: Message, reply: Message, notes: Mapping[str, Any]) -> None:
    """Write a message and its reply down, durably; an answer gets the heads of both chains.

    Raises:
        AuditError: It cannot be written, or a chain was changed.
    """
    record = {**_asked(message), **notes}
    if reply.has_error():
        record |= {"outcome": "refused", "sentence": reply.error.reason}
    else:
        record |= {"outcome": "answered", "sent": _sent(reply, audit.path.parent)}
    _append(audit, record)
    if reply.has_content() and AUDIT_HEAD in (config := _config(reply)):
        config[AUDIT_HEAD] = audit.head


def _append(audit: ChainedLog, record: Mapping[str, Any]) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with audit.writing():
            audit.append({"when": now, **record})
    except (OSError, BrokenChainError) as error:
        raise _unusable(audit.path, error) from None


def _asked(message: Message) -> dict[str, Any]:
    """What the server wants; of its words only those that are plainly what they should be."""
    config = _config(message) if message.has_content() else {}
    run, plan, number = (config.get(key) for key in ("run", "plan-hash", "round"))
    plain_run = isinstance(run, str) and not name_fault(run, longest=128)
    plain_plan = isinstance(plan, str) and re.fullmatch(r"[0-9a-f]{64}", plan)
    return {
        "action": message.metadata.message_type,
        "run": run if plain_run else "",
        "plan": plan if plain_plan else "",
        "round": number if isinstance(number, int) else 0,
    }


def _sent(reply: Message, state: Path) -> dict[str, Any]:
    """All that a reply holds, its arrays as groups, bytes and digest.

    The head of the ledger is put into it first; that of the audit is the line's own hash.
    """
    config = _config(reply)
    if LEDGER_HEAD in config:
        config[LEDGER_HEAD] = open_chain(state / LEDGER).head
    content = from_records(reply.content, Update, flwr.app)
    arrays: Weights = {
        name: array for named in content.arrays.values() for name, array in named.items()
    }
    return {
        "config": {key: value for key, value in config.items() if key != AUDIT_HEAD},
        "metrics": {name: _number(value) for name, value in (content.metrics or {}).items()},
        "groups": sorted(set(map(group_of, arrays))),
        "bytes": sum(array.nbytes for array in arrays.values()),
        "digest": digest(arrays) if arrays else "",
    }


def _config(message: Message) -> Any:
    """The texts and numbers of a message: Flower's record, or an empty one in its place."""
    found = message.content.get(Record.CONFIG.value)
    return found if isinstance(found, ConfigRecord) else ConfigRecord()


def _number(value: float) -> float | str:
    """JSON has no NaN."""
    return value if math.isfinite(value) else str(value)


def _state(context: Context) -> Path:
    """The state folder of a site; who writes into it makes it.

    Raises:
        AuditError: The node config names none.
    """
    if not (place := context.node_config.get("state")):
        raise AuditError("the node config of this site lacks `state`, where its audit is kept.")
    return Path(str(place))


def _unusable(path: Path, error: Exception) -> AuditError:
    why = str(error) if isinstance(error, BrokenChainError) else None
    reason = why or getattr(error, "strerror", None) or type(error).__name__
    full = isinstance(error, OSError) and error.errno in FULL
    remedy = "restore it from a backup, or make room"
    if full:
        remedy = "make room there, with `echofm client purge` or else"
    return AuditError(f"{path} cannot be used ({reason}), so nothing leaves this site; {remedy}.")
