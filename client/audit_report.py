"""What `echofm client audit` says: the messages, and whether audit and privacy ledger are whole."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.audit import FILE, open_chain
from echofm_core.privacy.config import LEDGER
from echofm_core.runtime.chained_log import ChainedLog
from echofm_core.runtime.errors import AuditError
from echofm_core.runtime.text import many


@dataclass(frozen=True, slots=True)
class Chains:
    """The two chains in a site's state folder."""

    audit: ChainedLog
    ledger: ChainedLog

    def heads(self) -> dict[str, dict[str, Any]]:
        """Number of lines, and hash of the last one, of each."""
        both = {"audit": self.audit, "privacy ledger": self.ledger}
        return {
            name: {"lines": len(log.records), "head": log.head, "file": str(log.path)}
            for name, log in both.items()
        }

    def find(self, head: str) -> str:
        """Where a head from the coordinator's journal stands, in words.

        Args:
            head: A hash, or its beginning.

        Raises:
            AuditError: In neither chain: lines were cut off, or an older folder was restored.
        """
        for name, log in (("audit", self.audit), ("privacy ledger", self.ledger)):
            for number, own in enumerate(log.hashes, start=1):
                if own.startswith(head):
                    later = many(len(log.hashes) - number, "line")
                    return f"{head[:12]} is line {number} of the {name}, {later} before its end"
        raise AuditError(
            f"{head[:12]} is in neither the audit nor the privacy ledger of "
            f"{self.audit.path.parent}: lines that the coordinator knows of are gone; an older "
            "state folder was restored, or somebody cut them off."
        )


def open_chains(state: Path) -> Chains:
    """Both chains, checked from their first line to their last.

    Raises:
        AuditError: One was changed; of both where both were.
    """
    found, broken = list[ChainedLog](), list[str]()
    for name in (FILE, LEDGER):
        try:
            found.append(open_chain(state / name))
        except AuditError as error:
            broken.append(str(error))
    if broken:
        raise AuditError(" ".join(broken))
    return Chains(*found)


def lines(records: list[dict[str, Any]]) -> Iterator[str]:
    """Each message in a line of words."""
    for record in records:
        asked = f"{record['when']} {record['action']}"
        if record["outcome"] == "done":  # by the hospital itself
            of_run = f" of {record['run']}" if record["run"] else ""
            yield f"{asked}{of_run}: {record['sentence']}"
            continue
        if record["round"]:
            asked += f" round {record['round']}"
        asked += f" of {record['run'] or 'no run'}, plan {record['plan'][:12] or 'none'}"
        data = f" ({record['data']})" if "data" in record else ""
        yield f"{asked}: {_answer(record)}{data}"


def _answer(record: Mapping[str, Any]) -> str:
    if record["outcome"] == "refused":
        return f"refused: {record['sentence']}"
    sent = record["sent"]
    parts = [many(len(sent["metrics"]), "number")] if sent["metrics"] else []
    if sent["groups"]:
        groups, digest = ", ".join(sent["groups"]), sent["digest"][:12]
        parts.append(f"{groups} ({sent['bytes']} bytes, digest {digest})")
    again = "sent again, as it was kept: " if record.get("again") else "sent "
    return again + (" and ".join(parts) or "counts")
