"""The table of what a few patients of an unseen site are worth, and its sentences."""

import pandas as pd

from echofm_core.evaluation.reported import reported_metrics
from echofm_core.evaluation.score_table import TOO_FEW

#: Name of the table's file, and of the folder of its trainings.
FEW_SHOT = "few_shot"


def few_shot_lines(table: pd.DataFrame, few: int) -> list[str]:
    """A sentence for each site and headline metric: the value at each number of patients.

    ``few``: test patients below which a site is not judged, which is said.
    """
    lines = []
    for site, rows in table.groupby("site"):
        for metric in reported_metrics(rows):
            if not metric.verdict:
                continue
            here = rows[(rows["task"] == metric.task.value) & (rows["metric"] == metric.metric)]
            here = here.dropna(subset=["value"]).sort_values("shots")
            values = [
                f"{value:.{metric.digits}f} with {shots}"
                for shots, value in zip(here["shots"], here["value"], strict=True)
            ]
            if values:
                count = int(here["patients"].max())
                scarce = f" (n {count}, {TOO_FEW})" if count < few else ""
                lines.append(
                    f"{site}{scarce}, fine-tuned there on some of its training patients: "
                    f"{metric.heading}: {', '.join(values)}."
                )
    return lines
