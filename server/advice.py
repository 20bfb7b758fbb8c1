"""What may help a site that hardly learns a task: the keys that its plan's rule depends on most."""

from collections.abc import Iterator

from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation, FederationConfig

#: Rules whose server takes steps of an optimizer, of a length that a key sets.
_ADAPTIVE = {Aggregation.FEDADAM, Aggregation.FEDYOGI, Aggregation.FEDADAGRAD}
#: A server rate that trained a pre-trained model whole; with larger ones FedAdam's steps were too
#: long, and more of a site's steps cannot mend that (docs/explanation/averaging.md).
SERVER_RATE = 0.001
#: Key of a rule that decides how far, or whereto, the model moves.
_OWN_KEY = {
    **dict.fromkeys(_ADAPTIVE, "another federation.server_learning_rate"),
    Aggregation.FEDPROX: "a smaller federation.proximal_mu",
    Aggregation.FEDAVGM: "another federation.server_momentum",
    Aggregation.QFEDAVG: "another federation.fairness_q",
}
#: Rules that all sites count alike in, whatever ``trunk_weights`` says.
_ALIKE = {Aggregation.MEDIAN, Aggregation.TRIMMED_MEAN, Aggregation.KRUM}


def advice(plan: Plan, sites: int) -> str:
    """A sentence or two.

    Args:
        plan: What is trained.
        sites: Number of sites that train; one alone has nobody to be averaged with.
    """
    rule = plan.federation
    if sites > 1 and rule.aggregation in _ADAPTIVE and rule.server_learning_rate > SERVER_RATE:
        return (
            f"Try federation.server_learning_rate = {SERVER_RATE:g} in place of "
            f"{rule.server_learning_rate:g} first: the server's steps may be too long, which no "
            "other key mends."
        )
    keys = list(_keys(rule, sites))
    steps = "finetune.local_steps" if plan.finetune.local_steps else "finetune.local_epochs"
    words = f"More {steps}, or {' or '.join(keys)}," if keys else f"More {steps}, or rounds,"
    return f"{words} may help."


def _keys(rule: FederationConfig, sites: int) -> Iterator[str]:
    if sites == 1:
        return
    if own := _OWN_KEY.get(rule.aggregation):
        yield own
    if rule.aggregation not in _ALIKE:
        yield "another federation.trunk_weights"
