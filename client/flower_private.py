"""What the site's side needs of Flower's private parts; its test fails loudly when they move.

A SuperNode makes a task of each message and hands it, by its own interface on this machine, to
whoever asks with the secret that both were started with; with the task's token its message is
pulled, kept from being given up by heartbeats, and answered.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec

from echofm_core.runtime.errors import EnvironmentClashError, FederationError

if TYPE_CHECKING:
    from flwr.app import Context, Message

#: Variable of the environment that holds a task's token; what is in a command line, all can read.
TOKEN = "ECHOFM_TASK_TOKEN"


@contextmanager
def _here() -> Iterator[None]:
    """What is imported within is where it was when this was written.

    Raises:
        EnvironmentClashError: This version of Flower has moved it.
    """
    try:
        yield
    except ImportError as error:
        raise EnvironmentClashError(
            f"this version of Flower has no {error.name}; install echofm-federated again."
        ) from None


class TaskQueue:
    """Tasks of the SuperNode at an address of this machine, which started with this secret."""

    def __init__(self, address: str, secret: bytes) -> None:
        with _here():
            from flwr.proto.runtime_pb2 import AcquireTaskRequest
            from flwr.supercore.constant import TaskType
            from flwr.supercore.interceptors import SuperExecAuthHttpInterceptor
        # Of every type: one that nobody takes is in the way of those that follow.
        self._request = AcquireTaskRequest(supported_task_types=sorted(TaskType))
        method = "/flwr.proto.Runtime/AcquireTask"
        signed = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=[method])
        self._client = _runtime(address, signed)

    def acquire(self) -> str:
        """Token of the oldest task that nobody has taken; "" where there is none.

        Raises:
            OSError: The SuperNode does not answer, or not yet.
            FederationError: It refuses: another one has that port.
        """
        import httpx

        try:
            return str(self._client.AcquireTask(self._request).token)
        except httpx.TransportError as error:
            raise OSError(str(error)) from None
        except httpx.HTTPStatusError as error:
            raise FederationError(
                f"the SuperNode's own interface answered with status {error.response.status_code}; "
                "another program may have its port: choose one with --port."
            ) from None


@dataclass(frozen=True, slots=True)
class Task:
    """A message to answer, and the app bundle that it came with."""

    message: Message
    context: Context
    bundle: bytes
    _address: str
    _token: str

    def reply(self, reply: Message) -> None:
        """Hand the answer to the SuperNode, and end the task; from a fork too."""
        with _here():
            from flwr.common.constant import SubStatus
            from flwr.supernode.runtime.run_clientapp import push_message, push_task_output
        status = SubStatus.FAILED if reply.has_error() else SubStatus.COMPLETED
        reason = (reply.error.reason or "") if reply.has_error() else ""
        with _of_task(self._address, self._token) as client:
            push_message(client, reply, self.context)
            push_task_output(client, self.context, status, reason)


@contextmanager
def claimed_task(address: str, token: str) -> Iterator[Task]:
    """The task of a token, kept from being given up for as long as the block lasts.

    The process is interrupted when its parent ends, or the SuperNode has given the task up.
    """
    with _here():
        from flwr.supercore.app_utils import start_parent_process_monitor
        from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
        from flwr.supernode.runtime.run_clientapp import pull_task_input
    start_parent_process_monitor(os.getppid())
    with _of_task(address, token) as client:
        heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
        heartbeat.start()
        try:
            message, context, _, bundle = pull_task_input(client)
            yield Task(message, context, bundle.content, address, token)
        finally:
            if heartbeat.is_running:
                heartbeat.stop()


def _of_task(address: str, token: str) -> Any:
    """A client for one task, which tries again what fails on the way."""
    with _here():
        from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor
        from flwr.supercore.retry import make_simple_http_retry_invoker
    return _runtime(address, RuntimeTokenHttpInterceptor(token), make_simple_http_retry_invoker())


def _runtime(address: str, credential: Any, retry: Any = None) -> Any:
    """A client of a SuperNode's own interface, which knows no TLS and is on loopback alone."""
    with _here():
        from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
        from flwr.supercore.runtime import RuntimeHttpClient
    how = (RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"), credential)
    return RuntimeHttpClient.from_server_address(address, True, None, how, retry_invoker=retry)


def key_is_admitted(server: str, authority: str, key: ec.EllipticCurvePrivateKey) -> bool:
    """Whether a SuperLink knows a node's key; leaves no trace there, and disturbs no running node.

    It asks to be activated with a heartbeat that no SuperLink accepts: one that does not know the
    key says so, one that does complains of the heartbeat.

    Args:
        server: ``HOST:PORT``.
        authority: Path of the certificate that the server's must come from.
        key: The node's private key.

    Raises:
        OSError: The server cannot be reached, or does not speak as a SuperLink does.
        EnvironmentClashError: This version of Flower has moved what is used here.
    """
    import httpx

    with _here():
        from flwr.proto.fleet_pb2 import ActivateNodeRequest
        from flwr.supercore.error import ApiErrorCode, FlowerError
        from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
        from flwr.supercore.primitives.asymmetric import public_key_to_bytes
        from flwr.supernode.fleet_http_client import FleetHttpClient
        from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
    public = key.public_key()
    request = ActivateNodeRequest(public_key=public_key_to_bytes(public), heartbeat_interval=0)
    how = (
        RuntimeVersionHttpInterceptor(component_name="SuperNode"),
        NodeAuthHttpInterceptor(key, public),
    )
    try:
        with FleetHttpClient.from_server_address(server, False, authority, how) as client:
            client.ActivateNode(request)
    except httpx.HTTPStatusError as error:
        answer = FlowerError.from_json(error.response.text)
        known: dict[int, bool] = {
            ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL: True,
            ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED: False,
        }
        if answer is None or answer.code not in known:
            raise OSError(f"it answered with status {error.response.status_code}") from None
        return known[answer.code]
    except httpx.HTTPError as error:
        raise OSError(str(error)) from None
    raise OSError("it accepted a node without a heartbeat")
