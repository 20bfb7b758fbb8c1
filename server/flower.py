"""Flower's command line tools, as the coordinator uses them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from echofm_core.runtime.errors import EnvironmentClashError, FederationError
from echofm_core.runtime.text import many
from server.provision import CONNECTION, Kit

#: Seconds that a tool has to answer.
PATIENCE = 60.0


def environment(kit: Kit) -> dict[str, str]:
    """Environment of every Flower process: our home, nothing sent anywhere, nothing installed."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(kit.home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }


def tool(name: str) -> str:
    """Path of a Flower command of this environment.

    Raises:
        EnvironmentClashError: It is not installed beside this Python.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise EnvironmentClashError(
            f"{name} is not installed beside this Python; install flwr there."
        )
    return found


def ask(kit: Kit, *words: str) -> dict[str, Any]:
    """What ``flwr WORDS`` answers about the kit's SuperLink.

    Raises:
        FederationError: It answered with an error, or not at all; the sentence is Flower's.
    """
    command = [tool("flwr"), *words, "--format", "json"]
    try:
        done = subprocess.run(
            command,
            env=environment(kit),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FederationError(f"the SuperLink did not answer within {PATIENCE:g} s.") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise FederationError(plain(done.stderr or done.stdout)) from None
    if not isinstance(answer, dict) or not answer.get("success", False):
        raise FederationError(plain(str(answer.get("error-message", answer))))
    return answer


def run_status(kit: Kit, run_id: str) -> tuple[str, str]:
    """Status of a run, such as ``finished:failed``, and its details.

    Raises:
        FederationError: The SuperLink does not say.
    """
    runs = ask(kit, "list", CONNECTION, "--run-id", run_id)["runs"]
    if len(runs) != 1:
        raise FederationError(
            f"the SuperLink lists {many(len(runs), 'run')} with the number {run_id}, not one; it "
            "may have been started anew since."
        )
    (run,) = runs
    return str(run["status"]), str(run.get("status-details") or "")


def plain(text: str) -> str:
    """The last words of a tool, without the box that it draws around errors."""
    lines = [line.strip("╭╮╰╯─│ ") for line in text.splitlines()]
    told = [line for line in lines if line and line != "Error"]
    return " ".join(told[-3:]).rstrip(".") or "it said nothing"


def last_words(log: Path, offset: int = 0) -> str:
    """The last lines of a log, from a place on."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "there is none"
    return " | ".join(line.strip() for line in text.splitlines()[-3:] if line.strip()) or "empty"
