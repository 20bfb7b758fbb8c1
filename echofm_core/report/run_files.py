"""A run folder as its report sees it: every file optional, each absence with its reason."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from echofm_core.evaluation.paired import PAIRED_COLUMNS
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from echofm_core.plan.machine import MachineConfig
from echofm_core.run_claim import BEGUN
from echofm_core.runtime.errors import PlanError

#: Files of the run folder with the columns that the report needs of each.
TABLES: dict[str, tuple[str, ...]] = {
    "metrics": ("arm", "phase", "round", "site", "metric", "value"),
    "scores": ("model", "site", "task", "metric", "value", "low", "high", "patients"),
    "paired": PAIRED_COLUMNS,
    "findings": ("dataset", "kind", "item", "reason", "severity"),
    "sites": ("site", "dataset", "split", "clips", "patients"),
}
PREDICTIONS: tuple[str, ...] = (
    "dataset", "site", "patient_id", "study_id", "clip_id", "task", "truth", "prediction",
)  # fmt: skip

#: The folders of an absolute path in a TOML string.
_FOLDERS = re.compile(r'"(?:/|[A-Za-z]:\\)[^"\n]*[/\\](?=[^"\n]*")')

#: Start of the ``missing`` key of one model's predictions.
DAMAGED_PREDICTIONS = "predictions/"
#: Likewise of one arm's validation patients.
DAMAGED_VALIDATION = "validation/"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFiles:
    """What a run folder holds.

    Attributes:
        folder: The run folder.
        plan: The resolved plan; the defaults if absent or not valid.
        plan_text: The resolved plan; of folders the last name only, since reports are passed on.
        summary: ``summary.json``; empty if absent.
        begun: ``start.json``, what the run began with beside its plan; empty if absent.
        metrics, scores, paired, findings, sites: Tables; empty, with their columns, if absent.
        predictions: Model name -> rows of ``training.predict``.
        validation: Arm (``federated``, ``without-SITE``) -> likewise, of validation patients.
        reconstruction: PNG bytes, None if absent.
        contact_sheets: Site -> PNG bytes.
        missing: Name of an absent part -> why, in words.
    """

    folder: Path
    plan: Plan
    plan_text: str
    summary: dict[str, Any]
    begun: dict[str, Any]
    metrics: pd.DataFrame
    scores: pd.DataFrame
    paired: pd.DataFrame
    findings: pd.DataFrame
    sites: pd.DataFrame
    predictions: dict[str, pd.DataFrame]
    validation: dict[str, pd.DataFrame]
    reconstruction: bytes | None
    contact_sheets: dict[str, bytes]
    missing: dict[str, str]

    @property
    def site_names(self) -> list[str]:
        """The sites of the run, by name."""
        return sorted({str(site) for site in self.sites["site"]})

    @property
    def unseen(self) -> tuple[str, ...]:
        """Sites that no model of the run trained on, by name; a run between hospitals has none."""
        return tuple(sorted(map(str, self.summary.get("unseen") or ())))


def read_run(folder: Path) -> RunFiles:
    """Read all there is; a missing or damaged file is named in ``missing``, never an error."""
    missing: dict[str, str] = {}
    tables = {
        name: _table(folder / f"{name}.parquet", name, columns, missing)
        for name, columns in TABLES.items()
    }
    plan, text = _plan(folder / "plan.toml", missing)
    pictures = folder / "pictures"
    reconstruction = pictures / "reconstruction.png"
    if not reconstruction.is_file():
        missing["reconstruction"] = "this run did no pre-training, or drew no example of it"
    sheets = {
        path.stem.removeprefix("contact_"): path.read_bytes()
        for path in sorted(pictures.glob("contact_*.png"))
    }
    if not sheets:
        missing["contact_sheets"] = f"{pictures.name}/ holds no contact sheet"
    summary = _mapping(folder / "summary.json", missing)
    predictions = _predictions(folder / "predictions", missing)
    # A run between hospitals says why it cannot have a part.
    missing |= {part: why for part, why in summary.get("absent", {}).items() if part in missing}
    return RunFiles(
        folder=folder,
        plan=plan,
        plan_text=text,
        summary=summary,
        begun=_mapping(folder / BEGUN, missing) if (folder / BEGUN).exists() else {},
        predictions=predictions,
        validation={
            path.stem: _table(path, f"{DAMAGED_VALIDATION}{path.stem}", PREDICTIONS, missing)
            for path in sorted((folder / "validation").glob("*.parquet"))
        },
        reconstruction=reconstruction.read_bytes() if reconstruction.is_file() else None,
        contact_sheets=sheets,
        missing=missing,
        **tables,
    )


def _table(
    path: Path, name: str, columns: tuple[str, ...], missing: dict[str, str]
) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
        absent = [column for column in columns if column not in table.columns]
        if not absent:
            return table
        why = f"lacks the columns {absent}"
    except FileNotFoundError:
        why = "is not in the run folder"
    except Exception as error:  # pyarrow raises many kinds for a damaged file
        why = f"cannot be read ({type(error).__name__})"
    missing[name] = f"{path.name} {why}"
    return pd.DataFrame(columns=list(columns))


def _predictions(folder: Path, missing: dict[str, str]) -> dict[str, pd.DataFrame]:
    """Rows by model; the files of the leave-one-out arms are one model, by their column."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for path in sorted(folder.glob("*.parquet")):
        rows = _table(path, f"{DAMAGED_PREDICTIONS}{path.stem}", PREDICTIONS, missing)
        if "model" not in rows.columns:
            rows = rows.assign(model=path.stem)
        for model, part in rows.groupby("model", sort=False):
            parts.setdefault(str(model), []).append(part.drop(columns="model"))
    if not parts:
        missing["predictions"] = f"{folder.name}/ holds no predictions"
    return {model: pd.concat(frames, ignore_index=True) for model, frames in parts.items()}


def _plan(path: Path, missing: dict[str, str]) -> tuple[Plan, str]:
    try:
        plan = load_plan(path)
    except PlanError as error:
        missing["plan"] = str(error).replace(str(path), path.name)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return Plan(), _FOLDERS.sub('"', text)
    return plan, plan.model_copy(update={"machine": _without_places(plan.machine)}).to_toml()


def _without_places(machine: MachineConfig) -> MachineConfig:
    """Of each folder the last name, and no host: where they lie is this machine's affair."""
    places = {key: Path(getattr(machine, key)).name for key in ("cache", "secret", "start", "rule")}
    roots = tuple(Path(root).name for root in machine.roots)
    ray = machine.ray.model_copy(update={"address": ""})
    phantoms = machine.phantoms
    phantoms = phantoms.model_copy(update={"folder": Path(phantoms.folder).name})
    return machine.model_copy(update={"roots": roots, "ray": ray, "phantoms": phantoms, **places})


def _mapping(path: Path, missing: dict[str, str]) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        missing[path.stem] = f"{path.name} cannot be read ({type(error).__name__})"
        return {}
    return values if isinstance(values, dict) else {}
