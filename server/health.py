"""Is the SuperLink up? Asked of the gRPC health service that it runs beside its own interface.

Flower's health service knows no TLS, so it listens on loopback alone; nobody else is to ask it.
"""

from __future__ import annotations

#: The only address that the health service is ever bound to.
LOOPBACK = "127.0.0.1"


def serving(port: int, seconds: float = 2.0) -> bool:
    """Does a health service on this machine say that it serves?

    Args:
        port: Of the service.
        seconds: How long to wait for its answer.
    """
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
