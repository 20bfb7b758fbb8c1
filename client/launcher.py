"""A site's node: its SuperNode, and for each message a process that runs the installed app.

Symptom: a SuperNode runs the code that its server sends. Reason: its own launcher installs each
run's app bundle and loads the app from there. Protocol: the SuperNode launches nothing
(``--isolation process``) and hands its tasks to whoever knows a secret, made anew at each start;
this process takes each task, and starts :mod:`client.run_clientapp` for it. It ends with the
SuperNode, and the SuperNode with it. What can still go wrong: whoever runs programs as the site's
own user can read the secret.

``python -P -m client.launcher ADDRESS SECRET COMMAND ...``: address of the SuperNode's own
interface, file for the secret, the SuperNode's command.
"""

import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from client.flower_private import TOKEN, TaskQueue
from echofm_core.runtime.child_process import GRACE, die_with_parent
from echofm_core.runtime.errors import EchoFMError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.signals import Stopped, install_handlers, leave

#: Seconds between two questions for a task.
INTERVAL = 0.25


def run_node(address: str, secret_file: Path, command: list[str]) -> int:
    """Run a SuperNode and answer its messages until it ends; returns its exit code.

    Raises:
        FederationError: Another program has its port.
    """
    secret = secrets.token_bytes(32)
    write_whole(secret_file, secret, private=True)
    node = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        # Not even a killed launcher leaves it behind; there is one thread.
        preexec_fn=die_with_parent,  # noqa: PLW1509
    )
    install_handlers(lambda number: None)
    try:
        return launch_tasks(node, TaskQueue(address, secret), address)
    except Stopped as stopped:
        # Who ends this process ends the SuperNode too, which takes leave of its server.
        with suppress(subprocess.TimeoutExpired):
            node.wait(GRACE)
        return stopped.exit_code


def launch_tasks(node: subprocess.Popen[bytes], tasks: TaskQueue, address: str) -> int:
    """Start a process for each task, one after the other, until the SuperNode ends.

    Returns:
        The SuperNode's exit code, as a shell has it.
    """
    running = list[subprocess.Popen[bytes]]()
    while (code := node.poll()) is None:
        token = ""
        with suppress(OSError):  # it is about to serve, or about to end
            token = tasks.acquire()
        if token:
            running.append(_answer(address, token))
        running = [process for process in running if process.poll() is None]
        time.sleep(INTERVAL)
    return code if code >= 0 else 128 - code


def _answer(address: str, token: str) -> subprocess.Popen[bytes]:
    """Start the process that answers one message; it ends when this one does."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "client.run_clientapp", address],
        env={**os.environ, TOKEN: token},
        stdin=subprocess.DEVNULL,
    )


def main() -> None:
    """Run the node whose words the command line has."""
    address, secret_file, *command = sys.argv[1:]
    try:
        leave(run_node(address, Path(secret_file), command))
    except EchoFMError as error:
        print(f"echofm: {error}", file=sys.stderr)
        leave(error.exit_code)


if __name__ == "__main__":
    main()
