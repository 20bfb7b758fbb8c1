"""Order and titles of a table's models."""

import pytest

from echofm_core.evaluation.model_names import FLOOR, model_order, model_title


def test_the_federation_comes_first_and_the_floor_last() -> None:
    names = [FLOOR, "local:b", "no_pretraining", "pooled", "leave_one_out", "federated"]
    assert model_order([*names, "local:a", "local:a"]) == [
        "federated",
        "leave_one_out",
        "pooled",
        "no_pretraining",
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
        ("no_pretraining", "federated, no pre-training"),
    ],
)
def test_titles(name: str, title: str) -> None:
    assert model_title(name) == title
