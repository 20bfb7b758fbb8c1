"""The figures of the learning benchmark that stay in the tree: written, read again, renewed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks._rows import Row, lines_of

#: Where ``--keep`` leaves the figures: ``learning.json`` and, to read, ``learning.md``.
KEPT = Path(__file__).parent / "results"
FIGURES = "learning.json"
TITLE = "What MAE pre-training and STF-Net are worth, on SYNTHETIC patients"
NOTE = """\
The figures compare arms on SYNTHETIC patients; they say nothing of people.
An arm is START-FUSION-MODE-PERCENT: random or MAE-pre-trained encoder; mean pooling, compact or
published STF-Net; all weights trained (full) or the encoder kept as it was (frozen); percent of
the training patients with labels. Behind a frozen encoder STF-Net is trained with the heads, since
with random weights it would say nothing of itself; with mean pooling the heads alone are (linear).
no_network-PERCENT is the floor: ridge regression on the temporal deviation and the mean of grey in
a 32 x 32 grid, fitted to the same labels.
The encoder sees the patches that touch the ultrasound sector, in every arm; the published STF-Net,
which needs the whole grid, is given zeros at the other places.
All arms share one recipe, benchmarks/learning.toml, and take as many steps. The last round counts:
no round is chosen by labels. Three seeds draw weights, order, masks and who has labels; where the
gain of MAE is compared, with 5, 10 and 100 % behind the compact STF-Net, eight do: who the few are
moves a figure by more than that gain. Arms are set beside each other on the three that all have."""
#: What is kept besides conditions: the rows of bars, and a table as pandas splits it.
_TABLE = ("columns", "data")


def keep(
    folder: Path, context: Mapping[str, str], scores: pd.DataFrame, rows: Sequence[Row], table: str
) -> None:
    """Write every figure with its seed, its plan's hash and what made it, and the table to read.

    In ``learning.json``, ``data`` holds a list a figure, in the order of ``columns``.
    """
    figures = {
        **context,
        "bars": [row.as_json() for row in rows],
        **json.loads(scores.round(5).to_json(orient="split", index=False)),
    }
    folder.mkdir(exist_ok=True)
    lines = json.dumps(figures).replace("], [", "],\n[")
    (folder / FIGURES).write_text(lines + "\n", encoding="utf-8")
    head = "\n".join(f"- {name}: {words}" for name, words in context.items())
    text = f"# {TITLE}\n\n{head}\n\n{NOTE}\n\n```\n{table}\n\n{lines_of(rows)}\n```\n"
    (folder / "learning.md").write_text(text, encoding="utf-8")


def kept(folder: Path) -> tuple[dict[str, str], pd.DataFrame]:
    """What :func:`keep` wrote: the conditions, and the scores."""
    figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
    scores = pd.DataFrame(figures["data"], columns=figures["columns"])
    context = {name: words for name, words in figures.items() if name not in (*_TABLE, "bars")}
    return context, scores


def renewed(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The kept scores, those of newly trained arms and seeds in the place of their old ones."""
    again = pd.MultiIndex.from_frame(new[["arm", "seed"]])
    stay = ~pd.MultiIndex.from_frame(old[["arm", "seed"]]).isin(again)
    return pd.concat([old[stay], new[old.columns]], ignore_index=True)
