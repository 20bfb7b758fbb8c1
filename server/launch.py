"""Running Flower's SuperLink for a provisioned federation, and a plan on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echofm_core.errors import EnvironmentClashError, FederationError
from server.provision import CONNECTION, Kit

#: Seconds between two looks at a run.
POLL = 2.0


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
            f"{name} is not installed beside this Python; it comes with the package flwr."
        )
    return found


@contextmanager
def superlink(kit: Kit, host: str, port: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """SuperLink and the launcher of ServerApps; both end with the block.

    Args:
        kit: The provisioned federation.
        host: Address to bind; keep it on loopback and expose only ``/v1/fleet/`` by a proxy.
        port: Port to bind.
    """
    link = [
        tool("flower-superlink"),
        *("--ssl-certfile", str(kit.certificate), "--ssl-keyfile", str(kit.key)),
        *("--ssl-ca-certfile", str(kit.authority), "--enable-supernode-auth"),
        *("--host", host, "--port", str(port), "--isolation", "process"),
        *("--superexec-auth-secret-file", str(kit.secret)),
        "--disable-runtime-dependency-installation",
    ]
    launcher = [
        tool("flower-superexec"),
        *("--runtime-api-address", f"127.0.0.1:{port}", "--root-certificates", str(kit.authority)),
        *("--superexec-auth-secret-file", str(kit.secret)),
    ]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in (("superlink", link), ("superexec", launcher)):
            processes.append(start(command, environment(kit), kit.folder / f"{name}.log"))
            time.sleep(POLL)
        yield processes
    finally:
        stop(processes)


def start(command: list[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, its output in a log file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End processes with all that they started, gently first."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            try:
                os.killpg(process.pid, sign)
            except ProcessLookupError:
                continue
        for process in processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                continue


def register(kit: Kit) -> None:
    """Make the sites' keys known to the running SuperLink; again does no harm."""
    for site in kit.site_names():
        # A key that is registered already is an error to Flower, and none to us.
        _flwr(kit, "supernode", "register", str(kit.site(site) / "node.pub"), CONNECTION)


def submit(kit: Kit, plan: Path, run: Path, *, resume: bool = False, timeout: float = 0) -> None:
    """Register the sites, run a plan on them, and wait until it ends.

    Args:
        kit: The provisioned federation; its SuperLink is running.
        plan: TOML plan.
        run: Run folder on this machine.
        resume: Go on with an interrupted run.
        timeout: Seconds to wait; 0 waits for ever.

    Raises:
        FederationError: The run could not be submitted, failed, or took too long.
    """
    register(kit)
    config = (
        f'plan="{plan.resolve()}" run-folder="{run.resolve()}" '
        f'resume={str(resume).lower()} sites="{",".join(kit.site_names())}"'
    )
    submitted = _flwr(kit, "run", str(kit.bundle), CONNECTION, "-c", config)
    if submitted.returncode:
        raise FederationError(
            f"the run was not accepted ({_last_line(submitted)}); is `echofm server start` running?"
        )
    started = time.monotonic()
    while not timeout or time.monotonic() - started < timeout:
        status, details = _status(kit)
        if status == "finished:completed":
            return
        if status.startswith("finished"):
            raise FederationError(
                f"the run ended as {status} ({details or 'no details'}); see the journal in {run} "
                f"and {kit.folder}/superexec.log, then go on with --resume."
            )
        time.sleep(POLL)
    raise FederationError(f"the run did not end within {timeout:.0f} s; it goes on at the server.")


def _flwr(kit: Kit, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("flwr"), *arguments],
        env=environment(kit),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _status(kit: Kit) -> tuple[str, str]:
    """Status of the newest run and its details, as ``flwr list`` says."""
    listed = _flwr(kit, "list", CONNECTION, "--limit", "1", "--format", "json")
    try:
        answer: dict[str, Any] = json.loads(listed.stdout)
        run = answer["runs"][0]
        return str(run["status"]), str(run.get("status-details", ""))
    except (ValueError, KeyError, IndexError):
        return "unknown", _last_line(listed)


def _last_line(process: subprocess.CompletedProcess[str]) -> str:
    lines = (process.stdout + process.stderr).strip().splitlines()
    return lines[-1].strip() if lines else "no output"
