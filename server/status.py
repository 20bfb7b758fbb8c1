"""How a provisioned federation does at the moment."""

from __future__ import annotations

from collections import Counter

from echofm_core.runtime.errors import FederationError
from server.flower import ask
from server.health import LOOPBACK, serving
from server.provision import CONNECTION, Kit


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
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    lines.append(
        f"sites: {len(kit.site_names())} with a kit; keys at the SuperLink: {told or 'none'}"
    )
    runs = ask(kit, "list", CONNECTION, "--limit", "1")["runs"]
    lines += [f"last run: {run['run-id']}, {run['status']}" for run in runs]
    return lines
