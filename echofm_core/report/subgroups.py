"""EF error by subgroup as a table, of the models that are looked at."""

import pandas as pd

from echofm_core.evaluation.model_names import model_title
from echofm_core.evaluation.strata import shown_models
from echofm_core.evaluation.subgroups import SubgroupError, subgroup_errors
from echofm_core.pages.grid import Grid
from echofm_core.report.run_files import RunFiles

COLUMNS = ("model", "by", "group", "n", "MAE (points)", "bias (points)")


def subgroup_table(run: RunFiles) -> Grid | None:
    """A row a model, attribute and group, over the sites that train, then over those never seen.

    None where predictions carry no attribute, or no EF.
    """
    rows: list[tuple[str, ...]] = []
    for model in shown_models(run.predictions):
        table = run.predictions[model]
        unseen = table["site"].isin(run.unseen)
        for part, title in ((table[~unseen], ""), (table[unseen], ", sites never seen")):
            rows += _rows(f"{model_title(model)}{title}", part, run)
    return Grid(columns=COLUMNS, rows=tuple(rows), numbers=frozenset({3})) if rows else None


def _rows(title: str, predictions: pd.DataFrame, run: RunFiles) -> list[tuple[str, ...]]:
    config = run.plan.evaluation
    return [
        (title, one.attribute, one.group, *_numbers(one, config.min_patients))
        for one in subgroup_errors(predictions, config, run.plan.seed)
    ]


def _numbers(one: SubgroupError, few: int) -> tuple[str, str, str]:
    if one.mae is None or one.bias is None:
        return (f"< {few}", "not shown", "")
    return (
        str(one.patients),
        f"{one.mae.value:.1f} [{one.mae.low:.1f}, {one.mae.high:.1f}]",
        f"{one.bias.value:+z.1f} [{one.bias.low:+z.1f}, {one.bias.high:+z.1f}]",
    )
