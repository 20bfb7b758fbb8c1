"""A user's own aggregation rule in a plan: its file is pinned by hash, and never opened as code.

It decides the result, so its SHA-256 is part of the plan. Where the file lies is the machine's
affair: a site is sent its name and hash alone. What runs it is ``server/aggregation/own_rule.py``.
"""

import hashlib
from pathlib import Path

from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import PlanError


def pin_rule(plan: Plan) -> Plan:
    """The plan with the hash of its rule's file as ``federation.rule_sha256``.

    A plan that has the hash already and whose file is not here stays as it is, so that a hospital
    can approve it, and a finished run be read, anywhere.

    Raises:
        PlanError: The file is missing, or is another than the plan names.
    """
    federation = plan.federation
    path = Path(plan.machine.rule)
    if not federation.rule:
        return plan
    if federation.rule_sha256 and not path.is_file():
        return plan
    found = hashlib.sha256(rule_source(path)).hexdigest()
    if federation.rule_sha256 not in ("", found):
        raise PlanError(
            f"the plan's rule {federation.rule} has SHA-256 {federation.rule_sha256[:12]}, but "
            f"{path} has {found[:12]}: restore the file, or begin another run with a plan without "
            "federation.rule_sha256."
        )
    pinned = federation.model_copy(update={"rule_sha256": found})
    return plan.model_copy(update={"federation": pinned})


def rule_source(path: Path) -> bytes:
    """What is in a rule's file.

    Raises:
        PlanError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise PlanError(
            f"the file of the plan's own rule, {path}, cannot be read ({reason}); federation.rule "
            "is its path relative to the plan's file."
        ) from None
