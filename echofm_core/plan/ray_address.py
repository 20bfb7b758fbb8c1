"""Is Ray installed, and is a cluster at the address that a plan names? Ray is not loaded for it.

Symptom: with a wrong address Ray waits for minutes, deaf to Ctrl-C. Reason: it tries again, whoever
is there or not. Protocol: the head of a cluster is asked what every gRPC server answers at once,
the settings of HTTP/2 (RFC 9113, 3.4). What can still go wrong: another gRPC server is there.
"""

import os
import socket
from importlib.util import find_spec

from echofm_core.runtime.errors import EngineError, EnvironmentClashError
from echofm_core.runtime.extras import install

#: Seconds to reach the head of a cluster, and for its answer.
PATIENCE = 10.0
#: How a client of HTTP/2 begins: words that no older version takes, and a frame of no settings.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
#: Bytes before a frame, the place of its type in them, and the type of a frame of settings.
HEADER, TYPE, SETTINGS = 9, 3, 4


def require_ray() -> None:
    """Refuse the Ray engine where Ray is not installed.

    Raises:
        EnvironmentClashError: It is not.
    """
    if find_spec("ray") is None:
        raise EnvironmentClashError(
            f'machine.engine = "ray" needs the package ray; {install("ray")}, or train with '
            'machine.engine = "processes".'
        )


def knock(address: str) -> None:
    """Refuse an address at which no cluster can be.

    Args:
        address: ``machine.ray.address``. Of ``auto``, it is ``RAY_ADDRESS`` of the environment that
            is asked; where that names none, Ray looks for one on this machine. Empty: nobody is.

    Raises:
        EngineError: Nobody listens there, or what does is no Ray.
    """
    where = "--ray-address or machine.ray.address"
    if address == "auto":
        address, where = os.environ.get("RAY_ADDRESS", ""), "RAY_ADDRESS of the environment"
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        found = _first_frame(host.strip("[]"), int(port))
    except OSError as error:
        raise EngineError(
            f"nobody listens at {address}, where the Ray cluster should be "
            f"({error.strerror or error}){_advice(where)}"
        ) from None
    if found[TYPE : TYPE + 1] != bytes([SETTINGS]):
        raise EngineError(f"what listens at {address} is no Ray cluster{_advice(where)}")


def _first_frame(host: str, port: int) -> bytes:
    """The header of what a server begins with; nothing where it does not speak in time."""
    with socket.create_connection((host, port), timeout=PATIENCE) as connection:
        if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
            return bytes([0, 0, 0, SETTINGS])  # it would not answer this
        try:
            connection.sendall(PREFACE)
            return connection.makefile("rb").read(HEADER)
        except OSError:
            return b""


def _advice(where: str) -> str:
    return f"; `ray status` on its head prints the address: mend {where}."
