"""What a run folder says in words: the same sentences for terminal, card and page."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from echofm_core.evaluation.decisions import (
    Decision,
    decision_lines,
    decisions,
    published_convention,
)
from echofm_core.evaluation.labels import leave_one_out_notes, unseen_notes
from echofm_core.evaluation.levels import leads
from echofm_core.evaluation.model_names import FEDERATED, LEAVE_ONE_OUT, model_title
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import JOINT
from echofm_core.evaluation.score_table import FEW, ScoreTable, site_order
from echofm_core.evaluation.strata import SiteStrata, ef_strata, largest_lines, strata_lines
from echofm_core.evaluation.verdict import sureness, verdict
from echofm_core.report.run_files import RunFiles
from echofm_core.runtime.console import console as terminal
from echofm_core.runtime.text import many


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """Sentences on a run."""

    verdict: list[str]
    """What was found, task by task."""
    sure: list[str]
    """How far the comparisons can be trusted."""
    by_stratum: list[str]
    """EF error by stratum of the reference."""
    largest: list[str]
    """The largest of them at one site."""
    threshold: list[str]
    """What the threshold of reduced EF finds and misses."""
    published: list[str]
    """Reduced EF as the published tables count it."""
    table_notes: list[str]
    """What a reader of the site x model tables must know."""
    strata: list[SiteStrata]
    decisions: list[Decision]

    @property
    def sentences(self) -> list[str]:
        """What was found and what is dangerous, for terminal and card."""
        return [*self.verdict, *self.by_stratum, *self.largest, *self.threshold]


def words_of(run: RunFiles) -> Words:
    """The sentences of a run folder, from its tables."""
    plan = run.plan
    few, tasks = plan.evaluation.min_patients, plan.finetune.tasks
    strata = ef_strata(run.predictions, run.unseen)
    decided = decisions(run.scores, few, run.unseen)
    left_out = (run.scores["model"] == LEAVE_ONE_OUT).any()
    return Words(
        verdict=verdict(run.scores, run.paired, run.sites, tasks, few, run.unseen),
        sure=sureness(run.paired, plan.evaluation),
        by_stratum=strata_lines(strata, few),
        largest=largest_lines(strata, few),
        threshold=decision_lines(decided, plan.finetune.reduced_ef_threshold),
        published=published_convention(run.scores),
        table_notes=[
            *unseen_notes(
                run.unseen,
                unlabelled_target=plan.protocol.unlabelled_target,
                held_back=plan.protocol.unlabelled_target or bool(plan.evaluation.few_shot),
            ),
            *(leave_one_out_notes(run.sites, tasks) if left_out else []),
        ],
        strata=strata,
        decisions=decided,
    )


def encoder_start(run: RunFiles) -> str:
    """What the encoder of a run started from, and how long it was pre-trained then."""
    if {"plan", "start"} & set(run.missing):
        return "unknown weights"
    plan = run.plan
    given = str(run.begun.get("start") or plan.model.start)
    start = f"weights {given[:12]}" if given else f"random weights, drawn by seed {plan.seed}"
    rounds = plan.pretrain.rounds
    return f"{start}, then {many(rounds, 'round')} of pre-training" if rounds else start


def print_run(run: RunFiles, console: Console = terminal) -> None:
    """Print the tables of a run folder and their verdict, in the words of its page."""
    words, few = words_of(run), run.plan.evaluation.min_patients
    print_site_by_model(run.scores, console, run.site_names, few, run.unseen)
    for note in words.table_notes:
        console.print(f"note: {note}", markup=False)
    for line in words.sentences:
        console.print(f"- {line}", markup=False)
    for line in (*words.sure, *words.published):
        console.print(line, style="dim", markup=False)


def print_site_by_model(
    scores: pd.DataFrame,
    console: Console,
    sites: Sequence[str] = (),
    few: int = FEW,
    unseen: Collection[str] = (),
) -> None:
    """Print one table a metric: worst site, gap, mean and then each site across, models down.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        console: Where to.
        sites: Sites to name besides those with scores.
        few: Test patients below which a site is not judged.
        unseen: Sites that no model trained on.
    """
    table = ScoreTable(scores, few, unseen)
    if not table.metrics:
        console.print("no site has test labels for any task of the plan: nothing to compare.")
    for metric in table.metrics:
        _print_one(table, metric, console, site_order([*table.sites, *sites], unseen))


def _print_one(
    scores: ScoreTable, metric: ReportedMetric, console: Console, sites: Sequence[str]
) -> None:
    shown = scores.sites_with_labels(metric)
    columns = {
        lead.title: [lead.text(model, metric.digits) for model in scores.models]
        for lead in leads(scores, metric)
    }
    reasons: list[str] = []
    for site in shown:
        cells = [scores.cell(model, site, metric) for model in scores.models]
        title = f"{scores.title(site)} (n {scores.patients_at(site, metric)})"
        columns[title] = list(map(str, cells))
        reasons += [
            f"{model_title(model)}: {cell.reason}"
            for model, cell in zip(scores.models, cells, strict=True)
            if cell.reason
        ]
    others = [site for site in sites if site not in JOINT.union(shown)]
    reasons += [scores.cell(FEDERATED, site, metric).reason for site in others]
    _print_side_by_side(metric.heading, list(map(model_title, scores.models)), columns, console)
    if reasons:
        console.print(f"n/a: {'; '.join(dict.fromkeys(reasons))}.", style="dim")


def _print_side_by_side(
    title: str, models: Sequence[str], columns: Mapping[str, Sequence[str]], console: Console
) -> None:
    """A table; where it is too wide, in parts below each other, so that no number is cut off."""
    whole = Table(title=title, title_justify="left")
    whole.add_column("model", no_wrap=True)
    for head in columns:
        whole.add_column(head, justify="right")
    for row, model in enumerate(models):
        whole.add_row(model, *(cells[row] for cells in columns.values()))
    if (
        console.measure(whole, options=console.options.update(max_width=1000)).maximum
        <= console.width
    ):
        console.print(whole)
        return
    # A value above its interval, or above its site.
    left = {head: [c.replace(" ", "\n", 1) for c in cells] for head, cells in columns.items()}
    while left:
        room = console.width - 4 - max(map(cell_len, ("model", *models)))
        part = Table(title=title, title_justify="left")
        part.add_column("model", no_wrap=True)
        taken: list[list[str]] = []
        while left and (not taken or room >= _width(*next(iter(left.items()))) + 3):
            head = next(iter(left))
            taken.append(left.pop(head))
            part.add_column(head, justify="right", width=_width(head, taken[-1]))
            room -= _width(head, taken[-1]) + 3
        for row, model in enumerate(models):
            part.add_row(model, *(cells[row] for cells in taken))
        console.print(part)


def _width(head: str, cells: Sequence[str]) -> int:
    """Of a column without border and padding: its head is broken between words, a cell is not."""
    lines = (line for cell in cells for line in cell.splitlines())
    return max(map(cell_len, (*head.split(), *lines)))
