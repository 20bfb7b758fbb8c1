"""The floor of the learning benchmark: what the same labels give without a network."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.learning_arms import Arm
from benchmarks.learning_data import as_site, open_data, with_labels
from echofm_core.contract import Phase
from echofm_core.data.prepare import ONE_SITE
from echofm_core.evaluation.floor import floor_predictions
from echofm_core.evaluation.model_names import FLOOR
from echofm_core.evaluation.score import ALL_SITES
from echofm_core.plan.document import Plan
from echofm_core.report.run_scores import score_models
from echofm_core.runtime.files import write_whole


@dataclass(frozen=True, kw_only=True, slots=True)
class Floor:
    """Ridge regression on the training patients of a share of labels.

    Attributes:
        seed: Of who has labels.
        percent: Share of training patients with labels.
    """

    seed: int
    percent: int

    @property
    def name(self) -> str:
        """All but the seed."""
        return f"{FLOOR}-{self.percent}"


def floors_of(arms: Iterable[Arm]) -> list[Floor]:
    """One for each draw of labels that the arms have; largest shares first, as in the table."""
    drawn = {(arm.percent, arm.seed) for arm in arms}
    return [Floor(seed=seed, percent=share) for share, seed in sorted(drawn, key=_largest_first)]


def floor_scores(floor: Floor, recipe: Plan, folder: Path) -> pd.DataFrame:
    """Fit and score one, unless its folder is finished.

    Returns:
        Columns seed, arm, task, metric, value, low, high (over patients), plan.
    """
    plan = recipe.model_copy(update={"seed": floor.seed})
    place = folder / "runs" / f"seed-{floor.seed}" / f"{floor.name}-{plan.digest()[:8]}"
    result = place / "result.json"
    if not result.exists():
        data = with_labels(open_data(folder), floor.percent, floor.seed)
        site = as_site(data, plan)
        train, test = site.train_clips(Phase.FINETUNE), site.test_clips()
        rows = floor_predictions(train, test, plan.finetune, seed=floor.seed, site=ONE_SITE)
        scores = score_models({floor.name: rows}, plan, place)
        everywhere = scores[scores["site"] == ALL_SITES]
        found = everywhere[["task", "metric", "value", "low", "high"]].to_dict("records")
        write_whole(result, json.dumps(found, indent=1).encode())
    table = pd.DataFrame(json.loads(result.read_text(encoding="utf-8")))
    return table.assign(seed=floor.seed, arm=floor.name, plan=plan.digest())


def _largest_first(drawn: tuple[int, int]) -> tuple[int, int]:
    return -drawn[0], drawn[1]
