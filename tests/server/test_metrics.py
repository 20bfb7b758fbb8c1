"""Numbers of the sites as one: values by hand."""

import pytest

from echofm_core.contract import Phase
from server.journal import Entry, SiteEntry
from server.metrics import tracked

NORTH = SiteEntry(
    counts={"encoder": 30, "heads.ef": 10, "heads.as_grade": 30},
    metrics={
        "loss": 1.0, "loss/ef": 0.4, "loss/as_grade": 0.6, "learning_rate": 1e-3, "steps": 3.0,
        "seconds": 9.0, "epsilon": 2.0, "update_norm": 4.0,
    },
)  # fmt: skip
SOUTH = SiteEntry(
    counts={"encoder": 10, "heads.ef": 10},
    metrics={
        "loss": 2.0, "loss/ef": 0.8, "learning_rate": 1e-3, "steps": 1.0, "seconds": 5.0,
        "epsilon": 3.0, "update_norm": 8.0,
    },
)  # fmt: skip


def test_sites_become_one_number_a_metric() -> None:
    """Means by clips: loss (30 * 1 + 10 * 2) / 40, norm (30 * 4 + 10 * 8) / 40; EF by its labels,
    of which both have 10: (0.4 + 0.8) / 2; only one site grades stenosis."""
    entry = Entry(
        phase=Phase.FINETUNE,
        round=2,
        plan_hash="0",
        sites={"north": NORTH, "south": SOUTH},
        refused={"east": "no reply of Doe^John"},
        seconds=12.5,
    )
    found = tracked(entry)
    assert (found.phase, found.round) == (Phase.FINETUNE, 2)
    assert found.series() == pytest.approx(
        {
            "finetune/loss": 1.25,
            "finetune/loss/ef": 0.6,
            "finetune/loss/as_grade": 0.6,
            "finetune/learning_rate": 1e-3,
            "finetune/steps": 4,
            "finetune/epsilon": 3.0,
            "finetune/update_norm": 5.0,
            "finetune/slowest_site_seconds": 9.0,
            "finetune/seconds": 12.5,
            "finetune/sites": 2,
            "finetune/refused": 1,
            "finetune/clips": 40,
        }
    )


def test_a_round_without_sites_has_its_counts() -> None:
    entry = Entry(phase=Phase.PRETRAIN, round=1, plan_hash="0", sites={}, seconds=1.0)
    assert tracked(entry).series() == {
        "pretrain/clips": 0, "pretrain/refused": 0, "pretrain/seconds": 1.0, "pretrain/sites": 0,
    }  # fmt: skip
