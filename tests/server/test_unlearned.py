"""Which losses are called hardly learnt; every ratio is worked out in its test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from echofm_core.contract import Phase, SiteDescription
from echofm_core.plan.load import plan_from_mapping
from server.advice import advice
from server.events import Event, EventKind
from server.journal import Entry, SiteEntry
from server.unlearned import unlearned_tasks, unseen_clips

PLAN = plan_from_mapping({}, "test")


def entries(
    losses: Sequence[dict[str, float]],
    heads: Sequence[str] = ("as_grade",),
    phase: Phase = Phase.FINETUNE,
) -> list[Entry]:
    """One entry for each round of site "a"."""
    counts = {"encoder": 5} | {f"heads.{head}": 5 for head in heads}
    return [
        Entry(
            phase=phase, round=number, plan_hash="x",
            sites={"a": SiteEntry(counts=counts, metrics=metrics)},
        )
        for number, metrics in enumerate(losses, start=1)
    ]  # fmt: skip


def losses_of(*values: float) -> list[dict[str, float]]:
    return [{"loss": value} for value in values]


def test_a_loss_that_ends_near_its_start_is_named_with_both_numbers() -> None:
    """1.36 is 0.84 of 1.62; what came between does not matter."""
    found = unlearned_tasks(entries(losses_of(1.62, 0.5, 1.36)), PLAN)
    assert set(found) == {"a"}
    assert found["a"].startswith("the training loss of as_grade began at 1.62 and ended at 1.36: ")
    assert found["a"].endswith(f"hardly learnt there. {advice(PLAN, 1)}")


def test_a_loss_that_fell_by_more_than_a_fifth_is_not() -> None:
    """1.28 is 0.79 of 1.62, and 1.31 is 0.81 of it."""
    assert not unlearned_tasks(entries(losses_of(1.62, 1.7, 1.28)), PLAN)
    assert unlearned_tasks(entries(losses_of(1.62, 1.7, 1.31)), PLAN)


def test_what_may_help_goes_by_the_sites_that_fine_tune() -> None:
    """Site "b" reports no loss, as a private one, and counts in the mean all the same."""
    rounds = entries(losses_of(1.0, 1.0, 1.0))
    rounds[0] = replace(rounds[0], sites={**rounds[0].sites, "b": SiteEntry(counts={}, metrics={})})
    alone = [replace(entry, phase=Phase.PRETRAIN) for entry in rounds]
    assert unlearned_tasks(rounds, PLAN)["a"].endswith(advice(PLAN, 2))
    rounds = [*alone, *entries(losses_of(1.0, 1.0, 1.0))]
    assert unlearned_tasks(rounds, PLAN)["a"].endswith(advice(PLAN, 1))


def test_each_task_is_judged_by_itself() -> None:
    """EF falls to a quarter and hides the view in the whole, which falls to 0.55."""
    first = {"loss": 2.0, "loss/ef": 1.2, "loss/view": 0.8}
    last = {"loss": 1.1, "loss/ef": 0.3, "loss/view": 0.8}
    found = unlearned_tasks(entries([first, first, last], ("ef", "view")), PLAN)
    assert "of view began" in found["a"] and "of ef began" not in found["a"]


def test_nothing_is_said_after_two_rounds_or_without_a_loss() -> None:
    """Private training reports no loss."""
    assert not unlearned_tasks(entries(losses_of(1.0, 1.0)), PLAN)
    assert not unlearned_tasks(entries([{"steps": 3.0}] * 5), PLAN)


def test_pre_training_is_not_judged() -> None:
    flat = losses_of(1.0, 1.0, 1.0)
    assert not unlearned_tasks(entries(flat, (), Phase.PRETRAIN), PLAN)
    assert unlearned_tasks([*entries(flat, (), Phase.PRETRAIN), *entries(flat)], PLAN)


def test_rounds_are_those_that_the_site_took_part_in() -> None:
    """Of five rounds it missed two: three are enough."""
    found = entries(losses_of(1.0, 0.9, 0.9, 0.9, 0.9))
    for number in (1, 3):
        found[number] = Entry(phase=Phase.FINETUNE, round=number + 1, plan_hash="x", sites={})
    assert unlearned_tasks(found, PLAN)
    found[4] = Entry(phase=Phase.FINETUNE, round=5, plan_hash="x", sites={})
    assert not unlearned_tasks(found, PLAN)


def test_clips_that_are_never_seen_are_counted() -> None:
    """3 rounds of 5 steps of 4 see 60 windows: 61 clips with an EF are too many, 60 are not. Where
    a site counts in passes it sees them all.
    """

    def about(name: str, **labels: int) -> SiteDescription:
        return SiteDescription(
            site=name, train_clips=500, train_patients=1, labels=labels, test_labels={},
            quarantined=0,
        )  # fmt: skip

    sites = {
        "a": about("a", ef=61, view=3), "b": about("b", ef=60), "c": about("c"),
    }  # fmt: skip
    steps = {"rounds": 3, "local_steps": 5, "batch_size": 4}
    found = unseen_clips(sites, plan_from_mapping({"finetune": steps}, "test").finetune)
    assert list(found) == ["a"]
    assert found["a"].startswith("sees 60 windows in 3 rounds of fine-tuning and has 61 labelled")
    passes = {"rounds": 3, "local_epochs": 1, "batch_size": 4}
    assert not unseen_clips(sites, plan_from_mapping({"finetune": passes}, "test").finetune)


def test_the_line_names_the_site() -> None:
    event = Event(kind=EventKind.WARNED, phase="finetune", warnings={"a": "hardly learnt."})
    assert event.line() == "finetune ended with warnings\n  a: hardly learnt."
