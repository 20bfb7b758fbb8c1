"""The model card beside the weights: what they are, who trained them, how they did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from echofm_core.data.windows import MEAN, SD
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.score_table import FEW, ScoreTable
from echofm_core.plan.document import Plan
from echofm_core.runtime.files import write_whole


def write_card(
    run: Path,
    plan: Plan,
    census: pd.DataFrame,
    scores: pd.DataFrame,
    summary: dict[str, Any],
    notes: Sequence[str],
    verdict: Sequence[str] = (),
) -> None:
    """Write ``model/README.md``.

    Args:
        run: Run folder; the weights are in ``model/model.safetensors``.
        plan: What was run.
        census: Clips, patients and label counts by site and split.
        scores: Scores of this model, in long form; empty where no task was trained.
        summary: As in ``summary.json``: synthetic, origin, plan_hash, digest, privacy.
        notes: What a reader of the numbers must know.
        verdict: Findings and dangers, in the words of its report.
    """
    training = census[census["split"] == "train"].drop(columns=["split"])
    synthetic = "**Trained on SYNTHETIC data (phantoms). Of no use on patients.**"
    spent = pd.DataFrame(summary["privacy"])
    parts = [
        f"# {plan.name}",
        synthetic if summary["synthetic"] else str(summary["origin"]),
        "## Weights",
        f"`model.safetensors`: float32, encoder size `{plan.model.size.value}`, STF-Net "
        f"`{plan.model.stf_net.value}`, input (B, {plan.data.frames}, 1, {plan.data.size}, "
        f"{plan.data.size}) grey, levels x in [0, 1] as (x - {MEAN}) / {SD}, a window of "
        f"{plan.data.window_seconds:g} s (0: the whole clip).\n\n"
        f"- plan hash `{summary['plan_hash']}`\n- weights digest `{summary['digest']}`",
        "## Training sites",
        _markdown(training),
        "## Test results",
        _results(scores, verdict, plan.evaluation),
        "## Privacy",
        "No differential privacy was applied." if spent.empty else _markdown(spent),
        "## Read with care",
        "\n".join(f"- {note}" for note in [*notes, "Not a medical device."]),
    ]
    write_whole(run / "model" / "README.md", ("\n\n".join(parts) + "\n").encode())


def _results(scores: pd.DataFrame, verdict: Sequence[str], config: EvaluationConfig) -> str:
    parts = ["No task was trained, or there was nothing to test on."]
    if not scores.empty:
        parts = [
            _markdown(site_by_model(scores, few=config.min_patients).T.reset_index()),
            f"Intervals: {config.confidence:.0%}, percentile bootstrap over patients.",
        ]
    return "\n\n".join([*parts, *["\n".join(f"- {line}" for line in verdict)] * bool(verdict)])


def site_by_model(scores: pd.DataFrame, few: int = FEW) -> pd.DataFrame:
    """The scores as a frame: a row a model, columns (site, metric).

    Cells are ``value [low, high]``, ``value (n 7, too few to judge)`` or ``n/a``; a site with fewer
    than ``few`` test patients is not judged.
    """
    table = ScoreTable(scores, few)
    columns = [(site, metric) for site in table.sites for metric in table.metrics]
    rows = [[str(table.cell(model, *column)) for column in columns] for model in table.models]
    titles = [(site, metric.title) for site, metric in columns]
    names = pd.MultiIndex.from_tuples(titles, names=["site", "metric"])
    return pd.DataFrame(rows, index=pd.Index(table.models, name="model"), columns=names)


def _markdown(table: pd.DataFrame) -> str:
    """A pipe table; pandas' own needs another package."""
    head = "| " + " | ".join(map(str, table.columns)) + " |"
    rule = "|" + "---|" * len(table.columns)
    rows = ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join([head, rule, *rows])
