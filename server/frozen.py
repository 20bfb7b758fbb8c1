"""What a phase leaves as it is: each site gets it once, and then only its digest."""

from collections.abc import Collection
from dataclasses import dataclass, field

from flwr.app import ArrayRecord

from echofm_core.contract import Weights, group_of
from echofm_core.post_processing import Steps
from echofm_core.runtime.checksum import digest
from server.wire import wired


@dataclass(frozen=True, slots=True)
class FrozenPart:
    """The frozen groups of a phase.

    Attributes:
        current: In float32.
        record: As they are sent; None where nothing is frozen.
        digest: Of what is sent; "" where nothing is.
        holders: Sites whose last reply counted, and so has them. A site that was late or in error
            gets them again: it may be new, or have lost its disk.
    """

    current: Weights = field(default_factory=dict)
    record: ArrayRecord | None = None
    digest: str = ""
    holders: set[str] = field(default_factory=set)

    def record_for(self, site: str) -> ArrayRecord | None:
        """What a site has to be sent now."""
        return None if site in self.holders else self.record

    def record_reply(self, site: str, *, counted: bool) -> None:
        """Take note of whether a site's reply counted."""
        if counted:
            self.holders.add(site)
        else:
            self.holders.discard(site)


def split_frozen(
    weights: Weights, groups: Collection[str], steps: Steps
) -> tuple[FrozenPart, Weights]:
    """Take the frozen groups out of a model.

    Args:
        weights: The whole model, float32.
        groups: Which are frozen.
        steps: What happens to it before it travels.

    Returns:
        The frozen part, and what is left to train.
    """
    still = {name: array for name, array in weights.items() if group_of(name) in groups}
    rest = {name: array for name, array in weights.items() if name not in still}
    if not still:
        return FrozenPart(), rest
    model = wired(still, steps)
    return FrozenPart(model.current, model.record, digest(model.sent)), rest
