from __future__ import annotations

import os

import pytest

from tests.support.phantoms import Phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Phantoms:
    """Institutions that this run of the tests has drawn, in whichever of its processes."""
    own = tmp_path_factory.getbasetemp()
    return Phantoms((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "phantoms")
