"""The report of a study: by protocol and variation, the table of methods, sites, what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from echofm_core.evaluation.model_names import FLOOR
from echofm_core.evaluation.reported import ReportedMetric, reported_metrics
from echofm_core.evaluation.verdict import sureness, verdict
from echofm_core.pages.grid import Grid, terminal_table
from echofm_core.pages.template import write_page
from echofm_core.report.few_shot import few_shot_curves, few_shot_table, read_few_shot
from echofm_core.report.heat_map import LEAD_STYLE, heat_maps
from echofm_core.report.label_curve import curve_doubt, label_curve_rows, label_curves
from echofm_core.report.published import CAVEAT, published_grid, source_lines
from echofm_core.report.run_files import RunFiles, read_run
from echofm_core.report.study_table import StudyScores, grids, title
from echofm_core.report.tuning import read_tuning, tuning_grid, tuning_sentence
from echofm_core.report.varied_table import varied_grids
from echofm_core.run_claim import STUDY
from echofm_core.runtime.console import console as terminal
from echofm_core.runtime.text import many

#: What is said of doubt, above the tables of several seeds and of one.
SEVERAL = (
    "Values are means over {seeds}. Intervals are over patients, of that mean; the spread between "
    "seeds stands apart from them, as standard deviation."
)
ONE = "One seed: nothing here says how far another seed's models would lie from these."
RESPLIT = (
    "Each seed has patients of its own for test, so that there is no interval over patients, and "
    "the spread between seeds holds both. Reports of the seeds have intervals."
)
FEW_SHOT_TITLE = "Fine-tuned on some of a site's training patients"
BYTES = (
    "MB between sites are weights in both phases and both ways; pre-training that several methods "
    "begin with counts for each of them."
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ProtocolPart:
    """One protocol of a study, under one variation, as files of its folder say it."""

    place: str
    run: RunFiles
    study: StudyScores
    table: pd.DataFrame

    @property
    def metrics(self) -> list[ReportedMetric]:
        """Those that some model has a score for."""
        return reported_metrics(self.run.scores)

    @property
    def grids(self) -> dict[ReportedMetric, Grid]:
        """The table of methods, a metric each."""
        return grids(self.table, self.metrics)

    @property
    def seeds(self) -> list[int]:
        """Of the plan of each."""
        return [int(seed) for seed in self.run.summary.get("seeds", [])]

    @property
    def reference(self) -> str:
        """The method that comparisons call federated; may be empty."""
        return str(self.run.summary.get("reference", ""))

    @property
    def protocol(self) -> str:
        """Name of the rule of sites."""
        return str(self.run.summary.get("protocol", self.place))

    @property
    def variation(self) -> Mapping[str, str]:
        """Varied key -> value in words; empty where nothing is varied."""
        return dict(self.run.summary.get("variation", {}))

    @property
    def varied(self) -> str:
        """The variation in words; may be empty."""
        return ", ".join(f"{key} = {value}" for key, value in self.variation.items())

    @property
    def published(self) -> Grid | None:
        """Published numbers that the plan names, beside those of this part."""
        methods = self.study.methods[["model", "method"]].itertuples(index=False, name=None)
        models = {model: title(method) for model, method in (*methods, (FLOOR, FLOOR))}
        return published_grid(self.run.plan.study.published, self.run.scores, models)

    @property
    def few_shot(self) -> pd.DataFrame:
        """Scores on a few patients of sites never seen; may be empty."""
        return read_few_shot(self.run.folder)

    @property
    def few_shot_grid(self) -> Grid | None:
        """These as a table."""
        return few_shot_table(self.few_shot, self.run.plan.evaluation.min_patients)

    @property
    def tuning(self) -> pd.DataFrame:
        """Settings that were tried, and which are chosen; may be empty."""
        return read_tuning(self.run.folder, self.run.plan.study)

    def doubt(self) -> str:
        """How values, intervals and spread are to be read."""
        if self.run.plan.study.resplit:
            return RESPLIT
        return SEVERAL.format(seeds=many(len(self.seeds), "seed")) if len(self.seeds) > 1 else ONE

    def sentences(self) -> list[str]:
        """The verdict on the method that others are compared with."""
        run, plan = self.run, self.run.plan
        few, tasks = plan.evaluation.min_patients, plan.finetune.tasks
        return verdict(run.scores, run.paired, run.sites, tasks, few, run.unseen)


def is_study(folder: Path) -> bool:
    """Whether a folder is that of a study."""
    return (folder / STUDY).is_file()


def read_part(folder: Path, place: str) -> ProtocolPart:
    """The files of one protocol and variation of a study."""
    run = read_run(folder / place)
    frames = {
        name: pd.read_parquet(run.folder / f"{name}.parquet") for name in ("seeds", "methods")
    }
    study = StudyScores(
        scores=run.scores,
        seeds=frames["seeds"],
        methods=frames["methods"],
        config=run.plan.evaluation,
        unseen=run.unseen,
    )
    return ProtocolPart(place=place, run=run, study=study, table=study.table())


def read_parts(folder: Path) -> list[ProtocolPart]:
    """All protocols and variations of a study, in its order."""
    words = json.loads((folder / STUDY).read_text(encoding="utf-8"))
    places = words["protocols"] if len(words["protocols"]) > 1 else ["."]
    return [read_part(folder, place) for place in words.get("places", places)]


def overviews(parts: Sequence[ProtocolPart]) -> dict[str, dict[ReportedMetric, Grid]]:
    """Protocol -> tables over its variations; empty where nothing is varied."""
    found = {}
    for name in dict.fromkeys(part.protocol for part in parts):
        own = [part for part in parts if part.protocol == name]
        metrics = list(dict.fromkeys(metric for part in own for metric in part.metrics))
        if tables := varied_grids([(part.variation, part.table) for part in own], metrics):
            found[name] = tables
    return found


def label_tables(parts: Sequence[ProtocolPart]) -> dict[str, pd.DataFrame]:
    """Protocol -> points of its data-efficiency curves; without those that have none."""
    found = {}
    for name in dict.fromkeys(part.protocol for part in parts):
        own = [part for part in parts if part.protocol == name]
        table = label_curve_rows(
            [(part.variation, part.run.plan.finetune.label_fraction, part.study) for part in own]
        )
        if len(table):
            found[name] = table
    return found


def write_study_report(folder: Path, places: Sequence[str]) -> Path:
    """Write ``report.html`` into a study's folder, from the files there alone.

    Args:
        folder: Of the study.
        places: Folder of each protocol and variation in it.
    """
    parts = [read_part(folder, place) for place in places]
    context = page_context(folder, parts)
    return write_page(folder / "report.html", "echofm_core.report", "study.html.j2", context)


def page_context(folder: Path, parts: Sequence[ProtocolPart]) -> dict[str, Any]:
    """Everything that ``study.html.j2`` names."""
    first = parts[0].run
    return {
        "title": first.summary.get("name", folder.name),
        "synthetic": any(part.run.summary.get("synthetic") for part in parts),
        "synthetic_sites": any(part.run.summary.get("synthetic_sites") for part in parts),
        "methods": method_grid(parts[0].study.methods),
        "bytes": BYTES,
        "tuning_sentence": tuning_sentence(first.plan.study),
        "overviews": {
            name: {metric.heading: grid for metric, grid in tables.items()}
            for name, tables in overviews(parts).items()
        },
        "label_curves": _label_curves(parts),
        "doubt": parts[0].doubt(),
        "several_protocols": len({part.protocol for part in parts}) > 1,
        "published_caveat": CAVEAT,
        "few_shot_title": FEW_SHOT_TITLE,
        "lead_style": LEAD_STYLE,
        "plan_text": first.plan_text,
        "parts": [
            {
                "name": part.protocol,
                "title": _title(part, parts),
                "published": part.published,
                "sources": source_lines(part.run.plan.study.published),
                "tuning": tuning_grid(part.tuning),
                "few_shot": part.few_shot_grid,
                "few_shot_curves": few_shot_curves(part.few_shot),
                "reference": part.reference,
                "doubt": part.doubt(),
                "grids": {metric.heading: grid for metric, grid in part.grids.items()},
                "heat_maps": heat_maps(
                    part.run.scores,
                    part.run.site_names,
                    part.run.plan.evaluation.min_patients,
                    part.run.unseen,
                ),
                "verdict": part.sentences(),
                "sure": sureness(part.run.paired, part.run.plan.evaluation),
                "notes": part.run.summary.get("notes", []),
                "seeds": {
                    seed: (Path(part.place) / f"seed-{seed}" / "report.html").as_posix()
                    for seed in part.seeds
                },
            }
            for part in parts
        ],
    }


def _label_curves(parts: Sequence[ProtocolPart]) -> dict[str, dict[str, Any]]:
    """Protocol -> its data-efficiency curves, and what is shaded there."""
    confidence = parts[0].run.plan.evaluation.confidence
    several = len({part.protocol for part in parts}) > 1
    return {
        name: {
            "doubt": curve_doubt(table, confidence),
            "charts": label_curves(table, confidence, f"{name}-" * several),
        }
        for name, table in label_tables(parts).items()
    }


def _title(part: ProtocolPart, parts: Sequence[ProtocolPart]) -> str:
    """Heading of a part: what it has that others have not."""
    several = len({one.protocol for one in parts}) > 1
    words = [f"Protocol {part.protocol}"] * several + [part.varied] * bool(part.varied)
    return ", ".join(words) or "Methods"


def method_grid(methods: pd.DataFrame) -> Grid:
    """What the methods are."""
    rows = methods[["method", "words", "source"]].itertuples(index=False, name=None)
    return Grid(
        columns=("method", "what it is", "source"),
        rows=tuple((title(name), words, source) for name, words, source in rows),
    )


def print_study(folder: Path, console: Console = terminal) -> None:
    """Print the tables of a study and its verdict, in the words of its page.

    Where the study has variations, the tables over them stand for those of each.
    """
    parts = read_parts(folder)
    for name, tables in overviews(parts).items():
        console.print(f"protocol {name}", markup=False)
        _print_tables(tables, console)
        console.print(parts[0].doubt(), markup=False, style="dim")
    for part in parts if not parts[0].variation else ():
        if part.place != ".":
            console.print(f"protocol {part.protocol}", markup=False)
        _print_tables(part.grids, console)
        console.print(part.doubt(), markup=False, style="dim")
        if part.reference:
            console.print(f"federated is the method {part.reference}.", style="dim", markup=False)
        if few := part.few_shot_grid:
            console.print(f"\n{FEW_SHOT_TITLE}", markup=False)
            console.print(terminal_table(few, console.width))
        for line in part.sentences():
            console.print(f"- {line}", markup=False)
    for part in parts:
        if tried := tuning_grid(part.tuning):
            console.print(f"\nTuning{part.varied and f' with {part.varied}'}", markup=False)
            console.print(terminal_table(tried, console.width))
    console.print(tuning_sentence(parts[0].run.plan.study), markup=False)
    for part in parts:
        if table := part.published:
            console.print(f"\nPublished, and here{part.varied and f' with {part.varied}'}")
            console.print(terminal_table(table, console.width))
    if any(part.published for part in parts):
        for line in (*source_lines(parts[0].run.plan.study.published), CAVEAT):
            console.print(line, markup=False, style="dim")
    console.print(BYTES, markup=False, style="dim")


def _print_tables(tables: Mapping[ReportedMetric, Grid], console: Console) -> None:
    for metric, table in tables.items():
        console.print(f"\n{metric.heading}", markup=False)
        console.print(terminal_table(table, console.width))
