"""What the site's side needs of Flower's private parts; its test fails loudly when they move."""

from cryptography.hazmat.primitives.asymmetric import ec

from echofm_core.runtime.errors import EnvironmentClashError


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

    try:
        from flwr.proto.fleet_pb2 import ActivateNodeRequest
        from flwr.supercore.error import ApiErrorCode, FlowerError
        from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
        from flwr.supercore.primitives.asymmetric import public_key_to_bytes
        from flwr.supernode.fleet_http_client import FleetHttpClient
        from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
    except ImportError as error:
        raise EnvironmentClashError(
            f"this version of Flower has no {error.name}; install echofm-federated again."
        ) from None
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
