"""What a coordinator can say of its federation at any time: SuperLink, sites, last run."""

import datetime
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from echofm_core.runtime.errors import FederationError
from server.flower import LOOPBACK, ask, serving
from server.kit import CONNECTION, Kit, Ports
from server.last_run import LastRun, last_run
from server.members import nodes, site_names


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteStatus:
    """One admitted site.

    Attributes:
        state: ``online`` or ``offline``, as Flower says; ``registered``: it has not come since the
            SuperLink started; ``unknown``: its key is not there, or nothing serves.
        last_seen: UTC, ISO 8601; None where it was not seen since the SuperLink started.
    """

    name: str
    state: str
    last_seen: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A federation as it is now."""

    folder: str
    host: str
    ports: Ports
    serving: bool
    sites: tuple[SiteStatus, ...]
    last_run: LastRun | None

    def as_json(self) -> dict[str, Any]:
        """Plain values; times are UTC, ISO 8601."""
        values = asdict(self)
        if run := self.last_run:
            begun = _iso(datetime.datetime.fromtimestamp(run.begun, datetime.UTC))
            texts = {"report": str(run.report), "folder": str(run.folder), "begun": begun}
            values["last_run"] |= texts
        return values

    def lines(self) -> list[str]:
        """Lines to show."""
        shown, ports = [], self.ports
        if self.serving:
            shown.append(
                f"SuperLink serves on port {ports.local} (health service on "
                f"{LOOPBACK}:{ports.health}); sites connect to port {ports.public}"
            )
        counts = Counter(site.state for site in self.sites)
        listed = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        shown.append(f"sites: {len(self.sites)} admitted; {listed or 'none'}")
        for site in self.sites:
            seen = f"last seen {site.last_seen}" if site.last_seen else "not seen yet"
            shown.append(f"  {site.name}: {site.state}, {seen}")
        if run := self.last_run:
            beat = "" if run.heartbeat is None else f", heartbeat {run.heartbeat:g} s ago"
            why = f" ({run.why.rstrip('.')})" if run.why else ""
            shown.append(f"last run: {run.state}{why}{beat}, in {run.folder}")
        return shown


def status_of(kit: Kit) -> Status:
    """Ask the SuperLink, if there is one, and look at the last run.

    Raises:
        DataRootError: The folder is no coordinator's.
        FederationError: The SuperLink serves, and does not say who is there.
    """
    ports = kit.ports()
    serves = bool(ports.health) and serving(ports.health)
    listed = ask(kit, "supernode", "list", CONNECTION)["nodes"] if serves else []
    by_number = {str(node["node-id"]): node for node in listed}
    numbers = nodes(kit)
    return Status(
        folder=str(kit.folder),
        host=kit.host(),
        ports=ports,
        serving=serves,
        sites=tuple(
            _site(name, by_number.get(str(numbers.get(name)), {})) for name in site_names(kit)
        ),
        last_run=last_run(kit),
    )


def not_serving(kit: Kit) -> FederationError:
    """The error to end with where no SuperLink serves."""
    return FederationError(
        f"the SuperLink of {kit.folder} does not serve; start it with `echofm server start`, or "
        f"see {kit.log('superlink')}."
    )


def _site(name: str, node: Mapping[str, Any]) -> SiteStatus:
    """A site by what Flower lists of its node; nothing where it lists none."""
    state, seen = str(node.get("status", "unknown")), None
    if state == "online":
        seen = _iso(datetime.datetime.now(datetime.UTC))
    elif state == "offline":
        seen = str(node.get("offline-at", "N/A")).replace(" ", "T")
    return SiteStatus(name=name, state=state, last_seen=None if seen == "N/A" else seen)


def _iso(when: datetime.datetime) -> str:
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")
