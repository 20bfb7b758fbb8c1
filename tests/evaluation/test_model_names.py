"""Order and titles of a table's models."""

import pytest

from echofm_core.evaluation.model_names import FLOOR, model_order, model_title


def test_the_federation_comes_first_and_the_floor_last() -> None:
    names = [FLOOR, "local:b", "pooled", "leave_one_out", "local:a", "federated", "local:a"]
    assert model_order(names) == [
        "federated",
        "leave_one_out",
        "pooled",
        "local:a",
        "local:b",
        "no_network",
    ]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("local:camus", "camus alone"),
        ("leave_one_out", "leave one out"),
        ("no_network", "no network (ridge)"),
        ("federated", "federated"),
    ],
)
def test_titles(name: str, title: str) -> None:
    assert model_title(name) == title
