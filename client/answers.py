"""What leaves a site when something goes wrong there: never a path, a file or a patient."""

import functools
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context, Error, Message

from echofm_core.runtime.errors import EchoFMError

#: Flower's code for "the ClientApp raised".
RAISED = 2

Handler = Callable[[Message, Context], Message]


def answered(handler: Handler) -> Handler:
    """Turn whatever a handler raises into an error reply that is safe to send.

    Our own errors are written to be read elsewhere and pass, with local paths cut; of any other
    only the class name does. The whole traceback goes to the site's own log.
    """

    @functools.wraps(handler)
    def safe(message: Message, context: Context) -> Message:
        try:
            return handler(message, context)
        except Exception as error:
            from client.state import site_log

            if state := context.node_config.get("state"):
                action = message.metadata.message_type
                site_log(Path(str(state))).exception("%s failed", action)
            return Message(Error(RAISED, reason_of(error, context)), reply_to=message)

    return safe


def reason_of(error: Exception, context: Context) -> str:
    """The sentence that may leave the site."""
    if not isinstance(error, EchoFMError):
        return f"{type(error).__name__}; the site's own log has the details."
    text = str(error)
    for key in ("manifest", "store", "state"):
        if place := str(context.node_config.get(key, "")):
            text = text.replace(place, f"<{key}>")
    # A word that looks like a path on this machine; a lone slash is none.
    paths = {word for word in text.split() if word != "/" and ("/" in word or "\\" in word)}
    words = ("[path]" if word in paths else word for word in text.split())
    return f"{type(error).__name__}: {' '.join(words)}"
