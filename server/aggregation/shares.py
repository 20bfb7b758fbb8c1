"""How much a site counts in the mean of each parameter group."""

from collections import defaultdict
from collections.abc import Mapping

from echofm_core.contract import HEADS, Phase
from echofm_core.plan.federation import FederationConfig, TrunkWeights
from echofm_core.tasks import TASKS, Task, TaskFamily

#: Site name -> parameter group -> clips that the site says it has.
Announced = Mapping[str, Mapping[str, int]]


class Shares:
    """Weights of a site, by parameter group.

    A head counts by the clips with its label, to the power of ``weight_exponent``; so does
    everything in pre-training, which is one task for all. The trunk counts in fine-tuning as
    ``trunk_weights`` says. Families are weighed against what *all* sites announced, which is known
    before the first reply: a weight depends neither on who answers first nor on who does not. The
    mean divides by the weights of those who did.

    Args:
        config: The plan's table.
        announced: Clips of every site that takes part.
        phase: What is trained.
    """

    def __init__(self, config: FederationConfig, announced: Announced, phase: Phase) -> None:
        self._announced = announced
        self._exponent = config.weight_exponent
        self._trunk = config.trunk_weights if phase is Phase.FINETUNE else TrunkWeights.CLIPS
        self._totals: dict[TaskFamily, int] = defaultdict(int)
        for groups in announced.values():
            for family, clips in family_clips(groups).items():
                self._totals[family] += clips

    def of(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Weight of a site in each group, from the training clips that it reports behind it."""
        shares = {group: float(clips) ** self._exponent for group, clips in counts.items()}
        if self._trunk is TrunkWeights.CLIPS:
            return shares
        trunk = 1.0 if self._trunk is TrunkWeights.EQUAL else self._of_families(counts)
        return {group: share if _task_of(group) else trunk for group, share in shares.items()}

    def parts(self, site: str) -> dict[str, float]:
        """A site's part of the mean over *all* sites, in each group for which it announced clips.

        The parts of all sites sum to one, whoever answers in a round.
        """
        every = {name: self._of_announced(name) for name in self._announced}
        totals = {
            group: sum(shares.get(group, 0.0) for shares in every.values()) for group in every[site]
        }
        return {
            group: share / totals[group] for group, share in every[site].items() if totals[group]
        }

    def _of_announced(self, site: str) -> dict[str, float]:
        return self.of({group: clips for group, clips in self._announced[site].items() if clips})

    def _of_families(self, counts: Mapping[str, int]) -> float:
        """Sum of the site's parts of each family; 0 for a site that trained no head."""
        families = family_clips(counts)
        return sum(clips / (self._totals[family] or clips) for family, clips in families.items())


def family_clips(counts: Mapping[str, int]) -> dict[TaskFamily, int]:
    """Clips with a label of each family: as many as its most frequent task has; none left out.

    Args:
        counts: Parameter group -> clips; groups that are no head do not matter.
    """
    found: dict[TaskFamily, int] = {}
    for group, clips in counts.items():
        task = _task_of(group)
        if task and clips:
            family = TASKS[task].family
            found[family] = max(found.get(family, 0), clips)
    return found


def _task_of(group: str) -> Task | None:
    """The task of a head; None for every other group."""
    whole, _, name = group.partition(".")
    return Task(name) if whole == HEADS else None
