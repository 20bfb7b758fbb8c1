"""The process that answers one message: it runs the installed app if the run's bundle is ours.

``python -P -m client.run_clientapp ADDRESS``, with the task's token in the environment; the site's
launcher starts one for each message.
"""

import os
import sys

from flwr.app import Context, Message

from client.answers import answered
from client.app import app
from client.audit import audited
from client.bundle import check_bundle
from client.flower_private import TOKEN, claimed_task
from echofm_core.runtime.signals import Stopped, install_handlers, leave


def answer(message: Message, context: Context, bundle: bytes) -> Message:
    """The installed app's reply to a message; a refusal where its run has another bundle.

    A refusal stands in the site's log and audit like that of any other message.
    """
    try:
        check_bundle(bundle)
        return app(message, context)
    except Exception as error:
        return _refuse(error, message, context)


def _refuse(error: Exception, message: Message, context: Context) -> Message:
    @audited
    @answered
    def refuse(message: Message, context: Context) -> Message:
        raise error

    return refuse(message, context)


def main() -> None:
    """Answer the message of one task."""
    token = os.environ.pop(TOKEN)
    install_handlers(lambda number: None)
    try:
        with claimed_task(sys.argv[1], token) as task:
            task.reply(answer(task.message, task.context, task.bundle))
    except Stopped as stopped:
        # Without an answer: a site that is stopped is not a site that failed.
        leave(stopped.exit_code)
    leave(0)


if __name__ == "__main__":
    main()
