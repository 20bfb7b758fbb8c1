"""Lines of a federation's progress, from journal entries by hand."""

from echofm_core.contract import Phase
from server.events import Event, EventKind, round_event
from server.journal import Entry, SiteEntry


def entry(**sites: dict[str, float]) -> Entry:
    """A finished round; every site has ten clips, but for ``b`` with thirty."""
    return Entry(
        phase=Phase.FINETUNE,
        round=2,
        plan_hash="p",
        sites={
            name: SiteEntry(counts={"encoder": 30 if name == "b" else 10}, metrics=metrics)
            for name, metrics in sites.items()
        },
        digest="d" * 64,
        seconds=3.0,
    )


def test_the_loss_is_the_mean_over_sites_by_clips() -> None:
    """(10 * 1 + 30 * 3) / 40 = 2.5."""
    line = round_event(entry(a={"loss": 1.0}, b={"loss": 3.0}), 4).line()
    assert line == "finetune round 2/4: 2 sites, loss 2.5000, weights dddddddddddd, 3.0 s"


def test_private_training_says_that_it_reports_no_loss() -> None:
    line = round_event(entry(a={"epsilon": 1.0}, b={"epsilon": 2.0}), 4).line()
    assert "loss is not reported in private training" in line and "nan" not in line


def test_a_loss_without_a_private_site_says_so() -> None:
    line = round_event(entry(a={"loss": 1.0}, b={"epsilon": 2.0}), 4, replayed=True).line()
    assert "loss 1.0000 (loss is not reported in private training)" in line
    assert "from the journal" in line


def test_no_loss_at_all_is_never_nan() -> None:
    line = round_event(entry(a={}), 4).line()
    assert "no site reported its loss" in line and "nan" not in line
    assert "nan" not in Event(kind=EventKind.ROUND).line()
