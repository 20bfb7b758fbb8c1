"""Which plans a hospital has approved, each with the code that it was approved for.

Symptom: a run trains, or sends, what nobody at the hospital has read. Reason: the server brings the
plan with each message, and an update of the package changes what the same plan does. Protocol: the
hospital's own file names each approved plan by its hash, and by the hash of the installed code; a
message with any other pair is declined before anything of the site is read. What can still go
wrong: whoever may write the site's folder may approve; other packages, such as PyTorch, are not in
the hash.
"""

import getpass
import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from echofm_core import __version__
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_json
from echofm_core.runtime.errors import PlanError, PolicyError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.installed_code import code_digest

#: Name of the file in the site's folder.
FILE = "approvals.json"
#: Folder beside it, with each approved plan as it was read.
PLANS = "approved"
_HOW = "`echofm client approve FOLDER PLAN`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """One plan that may run here.

    Attributes:
        run: The run's name, which follows from the plan.
        plan: Hash of the plan.
        code: Hash of the code that was installed then; ``version`` is what it calls itself.
        time: When, in UTC.
        by: Account of this machine that approved it.
    """

    run: str
    plan: str
    code: str
    version: str
    time: str
    by: str

    def digest(self) -> str:
        """SHA-256, in hex, of the record as canonical JSON."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def line(self) -> str:
        """In words, hashes in short; it says where the code has changed since."""
        changed = "; the code has changed since: approve it again"
        return (
            f"{self.run}: plan {self.plan[:12]}, code {self.code[:12]} of version {self.version}, "
            f"{self.time}, by {self.by}{'' if self.code == code_digest() else changed}"
        )


def read_approvals(folder: Path) -> dict[str, Approval]:
    """All of a site's folder, by the hash of the plan.

    Raises:
        PolicyError: The file is damaged.
    """
    try:
        rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {row["plan"]: Approval(**row) for row in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PolicyError(
            f"the site's {FILE} cannot be read ({type(error).__name__}), so no plan is approved; "
            f"remove it at the site, then {_HOW}."
        ) from None


def record_approval(folder: Path, plan: Plan) -> Approval:
    """Record that this plan may run here with the code that is installed now.

    Raises:
        PolicyError: The file is damaged.
    """
    approval = Approval(
        run=plan.run_name(),
        plan=plan.digest(),
        code=code_digest(),
        version=__version__,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        by=getpass.getuser(),
    )
    write_whole(folder / PLANS / f"{approval.plan}.json", plan.to_json().encode())
    _write(folder, read_approvals(folder) | {approval.plan: approval})
    return approval


def newest_plan(folder: Path) -> Plan | None:
    """The plan that was approved last of those that still are; None where its text is not kept.

    Raises:
        PolicyError: The file of approvals is damaged.
    """
    for approval in sorted(read_approvals(folder).values(), key=lambda item: item.time)[::-1]:
        with suppress(OSError, PlanError):
            plan = plan_from_json((folder / PLANS / f"{approval.plan}.json").read_text("utf-8"))
            if plan.digest() == approval.plan:
                return plan
    return None


def withdraw(folder: Path, name: str) -> Approval:
    """Take an approval back; it holds from the next message on.

    Args:
        folder: Of the site.
        name: Name of the run, or the first digits of the plan's hash.

    Raises:
        PlanError: None, or more than one, is called that.
        PolicyError: The file is damaged.
    """
    approvals = read_approvals(folder)
    meant = [item for item in approvals.values() if item.run == name or item.plan.startswith(name)]
    if not name or len(meant) != 1:
        known = ", ".join(f"{item.run} ({item.plan[:12]})" for item in approvals.values())
        raise PlanError(
            f"{len(meant)} approved plans are called {name!r}, not one; approved are: "
            f"{known or 'none'}."
        )
    (folder / PLANS / f"{meant[0].plan}.json").unlink(missing_ok=True)
    del approvals[meant[0].plan]
    _write(folder, approvals)
    return meant[0]


def require_approval(folder: Path, plan: Plan) -> Approval:
    """The approval of a plan; one that is not approved for the installed code is declined.

    Raises:
        PolicyError: With the plan's hash, and what to do at the site.
    """
    known = read_approvals(folder).get(plan.digest())
    name = f"plan {plan.run_name()} (hash {plan.digest()[:12]})"
    if known is None:
        raise PolicyError(f"this site has not approved the {name}; there: {_HOW}.")
    if known.code != (installed := code_digest()):
        raise PolicyError(
            f"this site approved the {name} for the code {known.code[:12]} (version "
            f"{known.version}), and now has {installed[:12]} (version {__version__}): after an "
            f"update, read it and approve again; there: {_HOW}."
        )
    return known


def _write(folder: Path, approvals: dict[str, Approval]) -> None:
    rows = [asdict(approval) for approval in approvals.values()]
    write_whole(folder / FILE, (json.dumps(rows, indent=2) + "\n").encode())
