from __future__ import annotations

import math

import pandas as pd

from echofm_core.report.traffic import ROWS, traffic


def rows(phase: str, number: int, down: float, loss: float) -> list[dict[str, object]]:
    """Two sites that send back half of what they get."""
    return [
        {
            "arm": "federated", "phase": phase, "round": number, "site": site,
            "metric": metric, "value": value,
        }
        for site, part in (("a", 0.25), ("b", 0.75))
        for metric, value in (
            ("bytes_down", part * down), ("bytes_up", part * down / 2), ("loss", loss + part)
        )
    ]  # fmt: skip


def test_bytes_add_up_over_sites_rounds_and_phases_beside_the_mean_loss() -> None:
    """Of 4 MB to the sites 2 MB come back; losses are 1 above the mean of a quarter and three."""
    found = [*rows("pretrain", 1, 4e6, 1.0), *rows("pretrain", 2, 4e6, math.nan)]
    found += rows("finetune", 1, 2000e6, 0.5)
    shown = traffic(pd.DataFrame(found))
    assert shown is not None
    assert shown.rows == (
        ("pretrain", "1", "4.0", "2.0", "6.0", "1.5000", ""),
        ("pretrain", "2", "4.0", "2.0", "12.0", "", ""),
        ("finetune", "1", "2,000.0", "1,000.0", "3,012.0", "1.0000", ""),
    )


def test_of_a_long_phase_some_rounds_are_shown_with_the_first_and_the_last() -> None:
    table = pd.DataFrame([row for n in range(1, 101) for row in rows("pretrain", n, 2e6, 1.0)])
    shown = traffic(table)
    assert shown is not None and len(shown.rows) == ROWS
    assert [row[1] for row in shown.rows][:: ROWS - 1] == ["1", "100"]
    assert shown.rows[-1][4] == "300.0", "those that are not shown count"


def test_a_run_that_counted_no_bytes_shows_none() -> None:
    table = pd.DataFrame(rows("pretrain", 1, 4e6, 1.0))
    assert traffic(table[table["metric"] == "loss"]) is None
