"""Running Flower's SuperLink for a provisioned federation."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from echofm_core.runtime.child_process import flower_environment, start, stop, tool
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.file_lock import file_lock
from server.flower import LOOPBACK, last_words, serving
from server.kit import Kit

#: Seconds that the SuperLink has to start.
PATIENCE = 60.0


@contextmanager
def superlink(kit: Kit, host: str, port: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """SuperLink and the launcher of ServerApps; both end with the block, all they started too.

    Args:
        kit: The provisioned federation; its own commands find the SuperLink from now on.
        host, port: What to bind; keep it on loopback and expose only ``/v1/fleet/`` by a proxy.

    Raises:
        FederationError: It does not start, or runs already, or its port is taken.
    """
    with file_lock(kit.folder / ".superlink.lock") as ours:
        if not ours:  # before the ports of the one that runs are written over
            raise FederationError(
                f"the SuperLink of {kit.folder} is running already; stop its `echofm server start` "
                "first, or use that one."
            )
        _require_free(host, port)
        kit.registered.unlink(missing_ok=True)  # of one that was killed
        kit.keep_ports(local=port, health=_free_port())
        processes: list[subprocess.Popen[bytes]] = []
        env = flower_environment(kit.home)
        try:
            processes.append(start(_link(kit, host, port), env, kit.log("superlink")))
            _await(kit, processes[0])
            processes.append(start(_launcher(kit, port), env, kit.log("superexec")))
            yield processes
        finally:
            stop(processes)


def _link(kit: Kit, host: str, port: int) -> list[str]:
    return [
        tool("flower-superlink"),
        *("--ssl-certfile", str(kit.certificate), "--ssl-keyfile", str(kit.key)),
        *("--ssl-ca-certfile", str(kit.authority), "--enable-supernode-auth"),
        *("--host", host, "--port", str(port), "--isolation", "process"),
        *("--superexec-auth-secret-file", str(kit.secret)),
        *("--health-server-address", f"{LOOPBACK}:{kit.ports().health}"),
        "--disable-runtime-dependency-installation",
    ]


def _launcher(kit: Kit, port: int) -> list[str]:
    return [
        tool("flower-superexec"),
        *("--runtime-api-address", f"127.0.0.1:{port}", "--root-certificates", str(kit.authority)),
        *("--superexec-auth-secret-file", str(kit.secret)),
    ]


def _await(kit: Kit, process: subprocess.Popen[bytes]) -> None:
    """Wait until the SuperLink says that it serves, and answers at its port."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if serving(kit.ports().health):
            with socket.socket() as probe:
                probe.settimeout(1.0)
                if probe.connect_ex((LOOPBACK, kit.ports().local)) == 0:
                    return
        time.sleep(0.2)
    log = kit.log("superlink")
    raise FederationError(
        f"the SuperLink did not start; is port {kit.ports().local} taken? {log} ends with: "
        f"{last_words(log)}"
    )


def _require_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        # As the SuperLink itself: what one that has ended left in TIME_WAIT is in nobody's use.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise FederationError(
                f"port {port} of {host} cannot be used ({error.strerror}); stop what has it, or "
                "give another --port."
            ) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
