"""The ``[federation]`` table: what its rules need."""

import pytest

from echofm_core.plan.federation import FederationConfig, check_quorum, check_trainers, median_notes
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


def test_fewer_sites_than_krum_can_judge_go_by_the_median() -> None:
    """With one faulty site it takes five; one site has no rule, and the median no quorum."""
    krum = FederationConfig.model_validate({"aggregation": "krum"})
    assert [len(median_notes(krum, sites)) for sites in (1, 2, 4, 5)] == [0, 1, 1, 0]
    assert "faulty_sites = 1 needs 5 sites" in median_notes(krum, 4)[0]
    check_trainers(krum, 5)
    with pytest.raises(PlanError, match="needs 5 sites that train, here are 4"):
        check_trainers(krum, 4)
    median = FederationConfig.model_validate({"aggregation": "median"})
    check_trainers(median, 2)
    assert not median_notes(median, 2)
