"""The model card beside the weights: what they are, who trained them, how they did."""

from collections.abc import Collection

import pandas as pd

from echofm_core.data.windows import MEAN, SD
from echofm_core.evaluation.levels import leads
from echofm_core.evaluation.score_table import FEW, ScoreTable
from echofm_core.report.run_files import RunFiles
from echofm_core.report.words import encoder_start, words_of
from echofm_core.runtime.files import write_whole


def write_card(run: RunFiles, model: str) -> None:
    """Write ``model/README.md`` beside a run's weights.

    Args:
        run: The run folder's files; all but the predictions are needed.
        model: Name in the table of scores of the model that the card is about.
    """
    plan, summary, words, scores = run.plan, run.summary, words_of(run), run.scores
    spent = pd.DataFrame(summary["privacy"])
    results = "No task was trained, or there was nothing to test on."
    if len(own := scores[scores["model"] == model]):
        table = site_by_model(own, plan.evaluation.min_patients, run.unseen).T.reset_index()
        results = (
            f"{_markdown(table)}\n\nIntervals: {plan.evaluation.confidence:.0%}, percentile "
            "bootstrap over patients."
        )
    parts = [
        f"# {plan.name}",
        "**Trained on SYNTHETIC data (phantoms). Of no use on patients.**"
        if summary["synthetic"]
        else str(summary["origin"]),
        "## Weights",
        f"`model.safetensors`: float32, encoder size `{plan.model.size.value}`, STF-Net "
        f"`{plan.model.stf_net.value}`, input (B, {plan.data.frames}, 1, {plan.data.size}, "
        f"{plan.data.size}) grey, levels x in [0, 1] as (x - {MEAN}) / {SD}, a window of "
        f"{plan.data.window_seconds:g} s (0: the whole clip).\n\n"
        f"- encoder started from {encoder_start(run)}\n"
        f"- plan hash `{summary['plan_hash']}`\n- weights digest `{summary['digest']}`",
        "## Training sites",
        _markdown(run.sites[run.sites["split"] == "train"].drop(columns=["split"])),
        "## Test results",
        results,
        *filter(None, [_items(words.sentences)]),
        "## Privacy",
        "No differential privacy was applied." if spent.empty else _markdown(spent),
        "## Read with care",
        _items([*words.table_notes, *summary["notes"], "Not a medical device."]),
    ]
    write_whole(run.folder / "model" / "README.md", ("\n\n".join(parts) + "\n").encode())


def site_by_model(
    scores: pd.DataFrame, few: int = FEW, unseen: Collection[str] = ()
) -> pd.DataFrame:
    """The scores as a frame: a row a model, columns (site, metric).

    Worst site, gap and mean come first, then the sites. Cells of a site are ``value [low, high]``,
    ``value (n 7, too few to judge)`` or ``n/a``; one with fewer than ``few`` test patients is not
    judged. ``unseen``: sites that no model trained on.
    """
    table = ScoreTable(scores, few, unseen)
    columns = [(site, metric) for site in table.sites for metric in table.metrics]
    first = [(lead, metric) for metric in table.metrics for lead in leads(table, metric)]
    rows = [
        [
            *(lead.text(model, metric.digits) for lead, metric in first),
            *(str(table.cell(model, *column)) for column in columns),
        ]
        for model in table.models
    ]
    titles = [
        *((lead.title, metric.title) for lead, metric in first),
        *((table.title(site), metric.title) for site, metric in columns),
    ]
    names = pd.MultiIndex.from_tuples(titles, names=["site", "metric"])
    return pd.DataFrame(rows, index=pd.Index(table.models, name="model"), columns=names)


def _items(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _markdown(table: pd.DataFrame) -> str:
    """A pipe table; pandas' own needs another package."""
    head = "| " + " | ".join(map(str, table.columns)) + " |"
    rule = "|" + "---|" * len(table.columns)
    rows = ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join([head, rule, *rows])
