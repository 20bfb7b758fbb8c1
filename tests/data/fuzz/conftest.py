"""Where many cases of a format are run, the few are not run again: they are the first of those."""

from __future__ import annotations

import re

import pytest

from tests.data.fuzz.harness import FEW


@pytest.hookimpl(trylast=True)  # what `-m` leaves
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    many = {item.nodeid for item in items if item.name.endswith("many]")}
    few = re.compile(rf"\b{FEW}]$")
    covered = [item for item in items if few.sub("many]", item.nodeid) in many - {item.nodeid}]
    if covered:
        config.hook.pytest_deselected(items=covered)
        items[:] = [item for item in items if item not in covered]
