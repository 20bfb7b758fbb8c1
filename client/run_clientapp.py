"""The process that answers one message: it runs the installed app if the run's bundle is ours.

Symptom: training is killed, for want of memory say, and the coordinator learns after a minute that
a node is not there. Reason: Flower gives a task up when its heartbeats are missing. Protocol: this
process keeps the message and the heartbeats, a fork of it does the work and hands in the answer;
where the fork dies, a refusal is handed in at once, and the site takes part in the next round. It
is not tried again here: what privacy it spent is spent. What can still go wrong: this process
itself is killed, the fork with it.

``python -P -m client.run_clientapp ADDRESS``, with the task's token in the environment; the site's
launcher starts one for each message.
"""

import os
import signal
import sys
from collections.abc import Callable

from flwr.app import Context, Message

from client.answers import answered
from client.app import app
from client.audit import audited
from client.bundle import check_bundle
from client.flower_private import TOKEN, Task, claimed_task
from echofm_core.runtime.child_process import die_with_parent
from echofm_core.runtime.errors import EngineError
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


def serve(task: Task) -> None:
    """Have a fork answer a task, and say so where it dies."""
    status = in_fork(lambda: task.reply(answer(task.message, task.context, task.bundle)))
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        died = EngineError(
            f"the process that did this work died by {name}; the system sends SIGKILL where memory "
            "runs out: smaller batches, or `accumulate` in site.toml, need less."
        )
        task.reply(_refuse(died, task.message, task.context))


def in_fork(work: Callable[[], None]) -> int:
    """Do a work in a fork of this process, which ends with it; returns how, as of ``os.waitpid``.

    Nothing that is not safe to fork is there yet: PyTorch is loaded by the work.
    """
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    die_with_parent()
    code = 1
    try:
        work()
        code = 0
    except Stopped as stopped:
        code = stopped.exit_code
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Answer the message of one task."""
    token = os.environ.pop(TOKEN)
    install_handlers(lambda number: None)
    try:
        with claimed_task(sys.argv[1], token) as task:
            serve(task)
    except Stopped as stopped:
        # Without an answer: a site that is stopped is not a site that failed.
        leave(stopped.exit_code)
    leave(0)


if __name__ == "__main__":
    main()
