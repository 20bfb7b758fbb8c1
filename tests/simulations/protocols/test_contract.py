"""Every protocol, under one contract: all rows placed, patients never torn, official tests kept."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from echofm_core.data.patients import patient_keys
from echofm_core.plan.protocol import SYNTHETIC, ProtocolName
from simulations.protocols.assign import RULES, assign_sites
from tests.simulations.protocols.made import config_of, of_rule

every_rule = pytest.mark.parametrize("name", list(ProtocolName))


@every_rule
# An example takes half a second: to make a failing one smaller would take minutes.
@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(patients=st.integers(24, 60), clips=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_every_patient_is_whole_and_every_row_is_placed(
    name: ProtocolName, patients: int, clips: int, seed: int
) -> None:
    table = of_rule(name, patients, clips)
    result = assign_sites(table, config_of(name), seed)
    assert len(result) == len(table)
    assert result["site"].notna().all() and result["split"].notna().all()
    people = result.groupby(patient_keys(result))
    assert (people["site"].nunique() == 1).all() and (people["split"].nunique() == 1).all()


@every_rule
def test_official_test_patients_stay_test_patients(name: ProtocolName) -> None:
    table = of_rule(name, 40, official=True)
    result = assign_sites(table, config_of(name), 3)
    before = set(table.loc[table["split"] == "test", "patient_id"])
    assert set(result.loc[result["split"] == "test", "patient_id"]) == before


@every_rule
def test_the_seed_alone_decides(name: ProtocolName) -> None:
    """Whatever the order of the rows; another seed draws anew where there is something to draw."""
    table = of_rule(name, 40)
    one = assign_sites(table, config_of(name), 3).set_index("clip_id")
    other_way = assign_sites(table[::-1], config_of(name), 3).set_index("clip_id")
    columns = ["site", "split"]
    assert one[columns].equals(other_way.loc[one.index, columns])
    anew = assign_sites(table, config_of(name), 4).set_index("clip_id")
    assert not one["split"].equals(anew.loc[one.index, "split"])
    assert one["site"].equals(anew.loc[one.index, "site"]) == (name not in SYNTHETIC)


@every_rule
def test_it_states_its_caveat_and_whether_sites_are_made(name: ProtocolName) -> None:
    rule = RULES[name]
    assert rule.caveat.endswith(".")
    assert rule.synthetic == (name in SYNTHETIC)
    assert ("SYNTHETIC" in rule.caveat and "nothing here is institutional" in rule.caveat) == (
        rule.synthetic
    )
