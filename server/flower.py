"""Flower's command line tools and its health service, as the coordinator uses them.

The health service knows no TLS, so it listens on loopback alone; nobody else is to ask it.
"""

import json
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from echofm_core.runtime.child_process import flower_environment, tool
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.text import many
from server.kit import CONNECTION, Kit

#: Seconds that a tool has to answer.
PATIENCE = 60.0
#: The only address that the health service is ever bound to.
LOOPBACK = "127.0.0.1"


def serving(port: int, seconds: float = 2.0) -> bool:
    """Does the health service at this port answer in that time that it serves?"""
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    # Never by way of a proxy that the environment names.
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"{LOOPBACK}:{port}", options=options) as channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=seconds)
        except grpc.RpcError:
            return False
    return bool(answer.status == HealthCheckResponse.SERVING)


def ask(kit: Kit, *words: str) -> dict[str, Any]:
    """What ``flwr WORDS`` answers about the kit's SuperLink.

    Raises:
        FederationError: It answered with an error, or not at all; the sentence is Flower's.
    """
    command = [tool("flwr"), *words, "--format", "json"]
    try:
        done = subprocess.run(
            command,
            env=flower_environment(kit.home),
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
    """The last lines of a tool's output, without the box that it draws around errors."""
    lines = [line.strip("╭╮╰╯─│ ") for line in text.splitlines()]
    words = [line for line in lines if line and line != "Error"]
    return " ".join(words[-3:]).rstrip(".") or "Flower ended without a message"


def first_error(log: Path, offset: int = 0) -> str:
    """The first line of a log, from a byte on, that names an error; "" where none does."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(offset)
        for line in file.read().decode("utf-8", "replace").splitlines():
            if re.match(r"\s*([\w.]*(Error|Exception)\b|ERROR\b)", line):
                return " ".join(line.split())[:300]
    return ""


def last_words(log: Path, offset: int = 0) -> str:
    """The last lines of a log, from a byte on."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "there is none"
    return " | ".join(line.strip() for line in text.splitlines()[-3:] if line.strip()) or "empty"
