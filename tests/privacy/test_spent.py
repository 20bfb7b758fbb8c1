"""What readers of a run are told of a site's privacy: by rows of metrics, written by hand."""

import pandas as pd

from echofm_core.privacy.config import open_rounds, spent


def table(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Site, metric and value, in the order of the rounds."""
    return pd.DataFrame(rows, columns=["site", "metric", "value"])


def test_what_a_site_has_spent_is_that_of_its_last_round_that_counted() -> None:
    rows = table(("north", "epsilon", 1.0), ("north", "epsilon", 1.5), ("south", "loss", 3.0))
    assert [(row["site"], row["epsilon"]) for row in spent(rows, 1e-5)] == [("north", 1.5)]
    assert spent(table(("north", "loss", 1.0)), 1e-5) == []


def test_rounds_after_it_that_did_not_count_are_said() -> None:
    """A round that was missed *before* one that counted is in that one's epsilon."""
    rows = table(
        ("north", "refused", 1.0),
        ("north", "epsilon", 1.5),
        ("south", "epsilon", 1.0),
        ("south", "refused", 1.0),
        ("south", "refused", 1.0),
        ("west", "refused", 1.0),
    )
    south, west = open_rounds(rows)
    assert south.startswith("south: 2 rounds did not count after the one that its epsilon is of")
    assert west.startswith("west: 1 round did not count and none did")


def test_without_privacy_nothing_is_said() -> None:
    assert open_rounds(table(("north", "loss", 1.0), ("north", "refused", 1.0))) == []
