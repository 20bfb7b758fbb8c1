"""Agreement of EF, ESV and EDV with the reference, in numbers."""

from dataclasses import replace

from echofm_core.evaluation.model_names import LEAVE_ONE_OUT, model_title
from echofm_core.evaluation.reported import REPORTED, ReportedMetric
from echofm_core.evaluation.score_table import ScoreTable
from echofm_core.pages.grid import Grid
from echofm_core.report.run_files import RunFiles

#: Columns of text, then metrics: tables of EchoNet-Dynamic have MAE and R², of CAMUS r, bias, MAE.
TITLES = ("model", "measurement", "tested at", "n")
METRICS = {"mae": "MAE", "r2": "R²", "pearson": "Pearson r", "bias": "bias"}
NUMBERS = frozenset(range(len(TITLES) - 1, len(TITLES) + len(METRICS)))


def agreement_table(run: RunFiles) -> Grid | None:
    """A row a model, measurement and site: of the run's own model, and of the one that left it out.

    EF in points, volumes in ml; bias is prediction minus reference. None where nothing was tested.
    """
    table = ScoreTable(run.scores, run.plan.evaluation.min_patients, run.unseen)
    models = [name for name in table.models if name in (table.models[0], LEAVE_ONE_OUT)]
    rows = tuple(
        (
            *(model_title(model), name, table.title(site), str(cells[0].patients)),
            *(str(replace(cell, of=0)) for cell in cells),  # n stands beside them
        )
        for model in models
        for name, metrics in measurements().items()
        for site in table.sites_with_labels(metrics[0])
        if not (cells := [table.cell(model, site, metric) for metric in metrics])[0].reason
    )
    columns = (*TITLES, *METRICS.values())
    return Grid(columns=columns, rows=rows, numbers=NUMBERS) if rows else None


def measurements() -> dict[str, list[ReportedMetric]]:
    """EF, ESV and EDV, each with the metrics of :data:`METRICS`; bias is written as the MAE is."""
    found = {}
    for mae in (item for item in REPORTED if item.metric == "mae"):
        each = {item.metric: item for item in REPORTED if item.task is mae.task}
        each["bias"] = replace(mae, metric="bias")
        found[mae.labels] = [each[metric] for metric in METRICS]
    return found
