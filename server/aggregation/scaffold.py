"""SCAFFOLD: sites correct their gradients by what sets each apart from all."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from echofm_core.contract import CONTROL, CONTROL_ROUND, Update, Weights, group_of
from echofm_core.plan.federation import FederationConfig
from server.aggregation._api import Algorithm, Fold, State, WeightedMean, chunks
from server.aggregation.on_disk import DiskArrays
from server.aggregation.shares import Shares

#: Part of the state: site -> the last round of it that counted, shape (1,).
COUNTED = "counted-rounds"


class Scaffold(Algorithm):
    """FedAvg of the models, and a control variate ``c``: the mean of those of all sites.

    A site sends the change of its ``c_i`` since the last round that counted, which the server
    names; ``c`` moves by the site's part of it (``1 / N`` where sites weigh alike), whoever else
    answers. So ``c`` stays the mean of what each site had when it last counted, and an update that
    was refused or late changes neither side. What a site does with it: ``training/steps/control``.

    ``c`` is on disk while a round runs; two models travel each way, and a reply is as large. The
    model moves by the mean, which is the paper's global step size of 1.

    Source: Karimireddy et al. 2020, SCAFFOLD, algorithm 1; ``c_i`` of option II.
    """

    #: ``c`` is the mean over the sites with which a phase began: a late one joins at the next.
    takes_late_sites = False

    def __init__(self, config: FederationConfig, shares: Shares, folder: Path | None) -> None:
        super().__init__(config, shares, folder)
        self._control = DiskArrays(folder)
        self._counted: dict[str, int] = {}

    def instruct(self, site: str = "") -> Mapping[str, float]:
        """The last round of the site that counted; 0: none."""
        return {CONTROL_ROUND: float(self._counted.get(site, 0))}

    def arrays(self) -> Weights:
        """``c``; what is missing is zero."""
        return {f"{CONTROL}/{name}": array for name, array in self._control.load(CONTROL).items()}

    def reply_arrays(self, sent: Weights) -> Weights:
        """A change of each control variate, in float32."""
        zero = np.zeros((), np.float32)
        return {f"{CONTROL}/{n}": np.broadcast_to(zero, a.shape) for n, a in sent.items()}

    def start(self, sent: Weights, current: Weights) -> Fold:
        """A running weighted mean that takes in control variates too."""
        return _ScaffoldMean(sent, current, self)

    def state(self) -> State:
        """``c``, and which round of each site it holds."""
        yield CONTROL, self._control.load(CONTROL)
        yield COUNTED, {site: np.array([r], np.float32) for site, r in self._counted.items()}

    def restore(self, state: State) -> None:
        """Take both up again."""
        for part, arrays in state:
            if part == COUNTED:
                self._counted = {site: int(number[0]) for site, number in arrays.items()}
            else:
                self._control.put(CONTROL, arrays)

    def count(self, update: Update) -> None:
        """Move ``c`` by a site's part of the change of its control variate.

        On disk at once: a round that fails ends the run, which goes on from the journal.
        """
        parts = self.shares.parts(update.site)
        for key, change in update.extra.items():
            name = key.removeprefix(f"{CONTROL}/")
            part = np.float32(parts.get(group_of(name), 0.0))
            self._control.reserve(CONTROL, name, change.shape)
            flat = change.reshape(-1)
            for piece in chunks(flat.size):
                moved = self._control.read(CONTROL, name, piece) + part * flat[piece]
                self._control.write(CONTROL, name, piece, moved)
        self._counted[update.site] = update.round


class _ScaffoldMean(WeightedMean):
    """FedAvg's mean of the models; each admitted update moves the rule's control variate too."""

    def __init__(self, sent: Weights, current: Weights, rule: Scaffold) -> None:
        super().__init__(sent, current, rule.shares)
        self._rule = rule

    def add(
        self,
        weights: Weights,
        counts: Mapping[str, int],
        update: Update | None = None,
        norm: float | None = None,
    ) -> float:
        """Take in one admitted update; returns the L2 norm of its change."""
        if update:
            self._rule.count(update)
        return super().add(weights, counts, norm=norm)
