"""What of the SuperLink answers at the address that sites use: it must be the fleet's part alone.

Whoever reaches the control or runtime interface can run code on the coordinator's machine and speak
to the sites as the coordinator does, and a proxy that passes one of them on looks, to the sites,
like one that does not.
"""

import http.client
import ssl

from echofm_core.runtime.errors import PlanError
from server.deployment import is_loopback
from server.kit import Kit

#: What whoever reaches control or runtime can do. At a site no code comes in this way: its launcher
#: answers runs of the installed package alone.
CAN_DO = "RUN CODE ON THIS MACHINE and ask the sites whatever an approved plan allows"
#: Seconds that the public address has for each answer.
PATIENCE = 4.0
#: What a request without content does no harm at: a SuperLink answers 415, whoever asks.
FLEET = "/v1/fleet/pull-messages"
FORBIDDEN = ("/v1/control/list-runs", "/v1/runtime/acquire-task", "/openapi.json")
#: Answers of a proxy that passes nothing on.
_CLOSED = (403, 404)


def check_bound(host: str, *, exposed: bool) -> None:
    """Whether the SuperLink may be bound to this address.

    Raises:
        PlanError: Others than this machine can reach it, and that is not what was asked for.
    """
    if not exposed and not is_loopback(host):
        raise PlanError(
            f"--host {host} lets other machines reach /v1/control, by which they can {CAN_DO}; "
            "leave it out and let nginx pass /v1/fleet/ on, or add --exposed where a firewall "
            "keeps all others away."
        )


def check_outside(kit: Kit) -> str:
    """Try the public address of a federation that serves.

    Returns:
        A line to show; one that begins with WARNING is for somebody to act on.
    """
    host, ports = kit.host(), kit.ports()
    address = f"{host}:{ports.public}"
    if not host:
        return (
            "WARNING: could not check what answers at the public address: server.toml does not "
            "name the host; run `echofm server provision` again"
        )
    if is_loopback(host) and ports.public == ports.local:
        return f"sites on this machine alone can connect, at {address}"
    try:
        open_paths = [path for path in FORBIDDEN if _status(kit, path) not in _CLOSED]
        fleet = _status(kit, FLEET)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        return f"WARNING: could not check what answers at {address}: {_why(address, error)}"
    if open_paths:
        return (
            f"WARNING: {' and '.join(open_paths)} answer at {address}. Whoever reaches them can "
            f"{CAN_DO}. Close the port now, and pass /v1/fleet/ alone ({kit.nginx})."
        )
    if fleet in _CLOSED:
        return (
            f"WARNING: {address} answers {fleet} at {FLEET}, so sites cannot connect; is it this "
            f"federation's proxy ({kit.nginx})?"
        )
    if fleet >= 500:
        return (
            f"WARNING: {address} answers {fleet} at {FLEET}; does its proxy pass on to "
            f"127.0.0.1:{ports.local} ({kit.nginx})?"
        )
    return f"{address} passes /v1/fleet/ on; control and runtime do not answer there"


def _status(kit: Kit, path: str) -> int:
    """Status of an empty request at the public address, past any proxy that the environment names.

    Raises:
        OSError, HTTPException: No answer, or no certificate of this federation.
    """
    context = ssl.create_default_context(cafile=str(kit.authority))
    link = http.client.HTTPSConnection(
        kit.host(), kit.ports().public, timeout=PATIENCE, context=context
    )
    try:
        link.request("POST", path, body=b"")
        return link.getresponse().status
    finally:
        link.close()


def _why(address: str, error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"it shows no certificate of this federation ({error.verify_message}), so sites will "
            "refuse it too"
        )
    return (
        f"{getattr(error, 'strerror', None) or type(error).__name__}; behind a network translation "
        "the own public name may be out of reach: try it from outside, where "
        f"`curl -k -X POST https://{address}{FORBIDDEN[0]}` must say 404"
    )
