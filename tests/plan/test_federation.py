"""The ``[federation]`` table: what its rules need."""

import pytest

from echofm_core.plan.federation import FederationConfig, check_quorum
from echofm_core.runtime.errors import PlanError


@pytest.mark.parametrize(("faulty", "needed"), [(0, 3), (1, 5), (2, 7)])
def test_krum_needs_a_quorum(faulty: int, needed: int) -> None:
    """2 f + 3 (Blanchard 2017: 2 f + 2 < n); other rules need none."""
    federation = {"aggregation": "krum", "faulty_sites": faulty, "min_sites": needed}
    check_quorum(FederationConfig.model_validate(federation))
    federation["min_sites"] = needed - 1
    with pytest.raises(PlanError, match=f"faulty_sites = {faulty} needs {needed} updates in every"):
        check_quorum(FederationConfig.model_validate(federation))
    check_quorum(FederationConfig.model_validate({**federation, "aggregation": "median"}))
