"""A message that a site has agreed to answer: read, held against plan and policy, its site open."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from flwr.app import Context, Message

from client.answers import site_log
from client.approval import require_approval
from client.audit import note
from client.kept_reply import read_reply, write_reply
from client.launch import policy_of
from client.plan_message import check_instruction
from client.policy import OPEN, Demand, Policy
from client.run_data import data_of_run
from client.site import Site, setting
from client.state import SiteState
from client.wire import to_instruction
from client.withdrawn import read_withdrawn
from echofm_core.contract import Attested, Instruction, Update
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_json
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import PlanError

Answer = TypeVar("Answer", bound=Attested)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, and who answers it under which policy.

    Attributes:
        until: Unix time at which a round is given up.
        approval_hash: Of the site's approval of the plan; "" where its policy needs none.
    """

    instruction: Instruction
    plan: Plan
    site: Site
    state: SiteState
    policy: Policy
    until: float = math.inf
    approval_hash: str = ""

    def attested(self, answer: Answer) -> Answer:
        """An answer with the hashes of policy and approval; a simulated site has neither."""
        policy = "" if self.policy is OPEN else self.policy.digest()
        return replace(answer, policy_hash=policy, approval_hash=self.approval_hash)

    def kept_reply(self) -> Update | None:
        """The reply that this very question was given before: it is never trained or paid twice."""
        return read_reply(self.state.folder, self._question()) if self._keeps_replies else None

    def keep_reply(self, update: Update) -> None:
        """Keep a reply until the next one: the server may have died before it wrote it down."""
        if self._keeps_replies and update.counts:
            write_reply(update, self.state.folder, self._question())

    @property
    def _keeps_replies(self) -> bool:
        """A simulated round gives the same bits again for nothing, but for noise of the system."""
        privacy = self.plan.privacy
        drawn = privacy.kind is not PrivacyKind.NONE and privacy.secure
        return self.policy is not OPEN or drawn

    def _question(self) -> str:
        """Fingerprint of all that the instruction asks for."""
        asked = self.instruction
        parts = {
            "action": asked.action,
            "round": asked.round,
            "plan": asked.plan_hash,
            "settings": dict(asked.settings),
            "weights": digest(asked.weights),
            "frozen": asked.frozen_digest,
            "extra": digest(asked.extra),
            # What was counted over fewer patients than the policy wants now is not sent again.
            "min_patients": self.site.min_patients,
            # Whoever has withdrawn since is in no reply that leaves from now on.
            "clips": [] if self.policy is OPEN else sorted(self.site.manifest["clip_id"]),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def open_request(message: Message, context: Context) -> Iterator[Request]:
    """Check a message before anything of the site is read; for the block the run is in use.

    Raises:
        PlanError: The plan is not valid, or is not the one that its hash names; or ``site.toml``
            is not.
        PolicyError: It asks for more than the plan has, or the policy allows; or the site has not
            approved the plan, cannot read who has withdrawn, or refuses for changed data.
    """
    instruction = to_instruction(message)
    plan = plan_from_json(instruction.plan)
    if plan.digest() != instruction.plan_hash:
        raise PlanError(
            f"the plan from the server has hash {plan.digest()[:12]} here, the server says "
            f"{instruction.plan_hash[:12]}; install the same version of echofm-federated on both."
        )
    check_instruction(plan, instruction)
    policy, approval = policy_of(context.node_config), ""
    if policy.approved_plans is Demand.REQUIRED:
        folder = Path(setting(context.node_config, "settings")).parent
        approval = require_approval(folder, plan).digest()
    policy.check(plan, instruction)
    site = Site.open(context.node_config, plan, min_patients=policy.min_patients)
    torch.set_num_threads(site.execution.threads)
    state = SiteState(Path(setting(context.node_config, "state")), instruction.run)
    ends = policy.end_of_round(message.metadata.created_at + message.metadata.ttl)
    request = Request(instruction, plan, site, state, policy, ends, approval)
    settings = context.node_config.get("settings")
    if not settings:
        yield request
        return
    with state.in_use():
        withdrawn = read_withdrawn(Path(str(settings)).parent)
        source = setting(context.node_config, "manifest")
        site, changes = data_of_run(site, state.folder, instruction, withdrawn, source)
        if words := str(changes):
            site_log(state.root).warning("%s: %s", instruction.run, words)
            note(context, "data", words)
        policy.check_changes(any(astuple(changes)[:2]))
        yield replace(request, site=site)
