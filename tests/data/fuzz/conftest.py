"""Where many cases of a format are run, the few are not run again: they are the first of those."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)  # what `-m` leaves
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    many = {item.path for item in items if item.name == "test_mutated[many]"}
    covered = [item for item in items if item.name == "test_mutated[40]" and item.path in many]
    if covered:
        config.hook.pytest_deselected(items=covered)
        items[:] = [item for item in items if item not in covered]
