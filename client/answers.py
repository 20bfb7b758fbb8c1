"""What leaves a site when something goes wrong there: never a path, a file or a patient."""

import functools
import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from flwr.app import Context, Error, Message

from echofm_core.error_reply import error_words
from echofm_core.runtime.errors import (
    AuditError,
    DataRootError,
    EchoFMError,
    ManifestError,
    OutputError,
    UnreadableFileError,
)
from echofm_core.runtime.files import full_disk

#: Flower's code for "the ClientApp raised".
RAISED = 2
#: Our code for what is none of our errors: a bug, as of the commands' exit codes.
BUG = 70
#: Errors whose sentences may quote a table, a header or the name of a file.
OF_DATA = (ManifestError, DataRootError, UnreadableFileError)
#: Name of a site's own log, in its state folder.
LOG = "site.log"
#: Keys of a node config that are paths.
PLACES = ("manifest", "store", "state", "settings", "secret")

Handler = Callable[[Message, Context], Message]


def answered(handler: Handler) -> Handler:
    """Turn whatever a handler raises into an error reply that is safe to send."""

    @functools.wraps(handler)
    def safe(message: Message, context: Context) -> Message:
        try:
            return handler(message, context)
        except Exception as error:
            return refusal(error, message, context)

    return safe


def refusal(error: Exception, message: Message, context: Context) -> Message:
    """An error reply, with the error's code and a reference that the site's own log has too.

    The whole traceback goes to that log, beside the same reference: who reads the coordinator's
    journal can ask the site about it, and learns nothing from it. A full disk is said to be one,
    whatever it made fail, and where the site's node runs too: its log may be on that disk.
    """
    if full := _full_disk(error, context):
        sys.stderr.write(f"{full}\n")
        error = full
    code = error.exit_code if isinstance(error, EchoFMError) else BUG
    reference = secrets.token_hex(4)
    if state := context.node_config.get("state"):
        action = message.metadata.message_type
        with suppress(OSError):  # a full disk; the answer leaves all the same
            log = site_log(Path(str(state)))
            log.error("%s failed, reference %s", action, reference, exc_info=error)
    words = error_words(code, reference, reason_of(error, context))
    return Message(Error(RAISED, words), reply_to=message)


def _full_disk(error: Exception, context: Context) -> OutputError | None:
    """The error to answer where a full disk is at the bottom of another; None where none is.

    That of an audit says so itself.
    """
    found = full_disk(error, but_of=AuditError)
    if found is None:
        return None
    state = str(context.node_config.get("state", ""))
    name = found.filename if isinstance(found.filename, str) else ""
    where = state if not name or name.startswith(state) else str(Path(name).parent)
    full = OutputError(
        f"the disk of {where} at this site is full, so the work was not done and nothing "
        "half-written is left; make room there, with `echofm client purge` or else, and the site "
        "takes part again with the next message."
    )
    full.__cause__ = found
    return full


def reason_of(error: Exception, context: Context) -> str:
    """The sentence that may leave the site.

    Our own errors are written to be read elsewhere and pass, with local paths cut, but for those
    that may quote the site's data; of these and of any other only the class name does.
    """
    if not isinstance(error, EchoFMError) or isinstance(error, OF_DATA):
        log = context.node_config.get("log") or f"{LOG} of the site's state folder"
        return f"{type(error).__name__}; the traceback is in {log}."
    text = str(error)
    for place, shown in sorted(_places(context), key=lambda pair: -len(pair[0])):
        text = text.replace(place, shown)
    # A word that looks like a path on this machine; a lone slash is none.
    paths = {word for word in text.split() if word != "/" and ("/" in word or "\\" in word)}
    words = ("[path]" if word in paths else word for word in text.split())
    return f"{type(error).__name__}: {' '.join(words)}"


def _places(context: Context) -> Iterator[tuple[str, str]]:
    """Paths of the node config and all below them, and what is said instead.

    Word for word they would be cut too, but for names with spaces in them.
    """
    for key in PLACES:
        if not (place := str(context.node_config.get(key, ""))):
            continue
        yield from ((same, f"<{key}>") for same in {place, str(Path(place))})
        for folder, folders, files in os.walk(Path(place)):
            yield from ((str(Path(folder) / name), "[path]") for name in (*folders, *files))


def site_log(state: Path) -> logging.Logger:
    """The site's own log, :data:`LOG` in its state folder; it never leaves the site."""
    path = state.resolve() / LOG
    log = logging.getLogger(f"echofm.site.{path}")
    if not log.handlers:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    return log
