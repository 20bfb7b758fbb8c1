from __future__ import annotations

import pytest
import torch

from simulations.engine import SiteSettings
from tests.federation.small import build_sites


@pytest.fixture(scope="session")
def built_sites(tmp_path_factory: pytest.TempPathFactory) -> list[SiteSettings]:
    """Three institutions; give them fresh states with ``small.with_states``."""
    torch.set_num_threads(1)
    return build_sites(tmp_path_factory.mktemp("sites"))
