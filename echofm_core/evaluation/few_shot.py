"""The table of what a few patients of an unseen site are worth, and its sentences."""

import pandas as pd

from echofm_core.evaluation.reported import reported_metrics

#: Name of the table's file, and of the folder of its trainings.
FEW_SHOT = "few_shot"


def few_shot_lines(table: pd.DataFrame) -> list[str]:
    """A sentence for each site and headline metric: the value at each number of patients."""
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
                lines.append(
                    f"{site}, fine-tuned there on some of its training patients: {metric.heading}: "
                    f"{', '.join(values)}."
                )
    return lines
