"""Whether the SuperLink serves, and what it knows of sites and runs.

Flower's health service knows no TLS, so it listens on loopback alone; nobody else is to ask it.
"""

from collections import Counter

from echofm_core.runtime.errors import FederationError
from server.flower import ask
from server.provision import CONNECTION, Kit

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


def look(kit: Kit) -> list[str]:
    """Ask the SuperLink's health service, then what it knows of sites and of the last run.

    Returns:
        Lines to show.

    Raises:
        FederationError: It does not serve.
    """
    ports = kit.ports()
    if not ports.health or not serving(ports.health):
        raise FederationError(
            f"the SuperLink of {kit.folder} does not serve; start it with `echofm server start`, "
            f"or see {kit.log('superlink')}."
        )
    lines = [
        f"SuperLink serves on port {ports.local} (health service on {LOOPBACK}:{ports.health}); "
        f"sites connect to port {ports.public}"
    ]
    nodes = ask(kit, "supernode", "list", CONNECTION)["nodes"]
    counts = Counter(str(node["status"]) for node in nodes)
    listed = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    lines.append(
        f"sites: {len(kit.site_names())} with a kit; keys at the SuperLink: {listed or 'none'}"
    )
    runs = ask(kit, "list", CONNECTION, "--limit", "1")["runs"]
    lines += [f"last run: {run['run-id']}, {run['status']}" for run in runs]
    return lines
