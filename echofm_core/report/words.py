"""What a run folder says in words: the same sentences for terminal, card and page."""

from dataclasses import dataclass

from echofm_core.evaluation.decisions import (
    Decision,
    decision_lines,
    decisions,
    published_convention,
)
from echofm_core.evaluation.labels import leave_one_out_notes
from echofm_core.evaluation.model_names import LEAVE_ONE_OUT
from echofm_core.evaluation.strata import SiteStrata, ef_strata, largest_lines, strata_lines
from echofm_core.evaluation.verdict import sureness, verdict
from echofm_core.report.run_files import RunFiles


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """Sentences on a run.

    Attributes:
        verdict: What was found, task by task.
        sure: How far the comparisons can be trusted.
        by_stratum: EF error by stratum of the reference.
        largest: The largest of them at one site.
        threshold: What the threshold of reduced EF finds and misses.
        published: Reduced EF as the published tables count it.
        table_notes: What a reader of the site x model tables must know.
        strata, decisions: The numbers behind these.
    """

    verdict: list[str]
    sure: list[str]
    by_stratum: list[str]
    largest: list[str]
    threshold: list[str]
    published: list[str]
    table_notes: list[str]
    strata: list[SiteStrata]
    decisions: list[Decision]

    @property
    def sentences(self) -> list[str]:
        """What was found and what is dangerous, for terminal and card."""
        return [*self.verdict, *self.by_stratum, *self.largest, *self.threshold]


def words_of(run: RunFiles) -> Words:
    """The sentences of a run folder, from its tables."""
    plan = run.settings
    few, tasks = plan.evaluation.min_patients, plan.finetune.tasks
    strata = ef_strata(run.predictions)
    decided = decisions(run.scores, few)
    left_out = (run.scores["model"] == LEAVE_ONE_OUT).any()
    return Words(
        verdict=verdict(run.scores, run.paired, run.sites, tasks, few),
        sure=sureness(run.paired, plan.evaluation),
        by_stratum=strata_lines(strata, few),
        largest=largest_lines(strata, few),
        threshold=decision_lines(decided, plan.finetune.reduced_ef_threshold),
        published=published_convention(run.scores),
        table_notes=leave_one_out_notes(run.sites, tasks) if left_out else [],
        strata=strata,
        decisions=decided,
    )
