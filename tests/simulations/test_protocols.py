"""Every protocol, under one contract: all rows placed, patients never torn, official tests kept."""

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from echofm_core.data.manifest import manifest_from_rows
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.protocol import ProtocolConfig, ProtocolName
from echofm_core.runtime.errors import DataRootError, EmptySiteError, PlanError
from simulations.prepare import check_sites
from simulations.protocols.assign import RULES, assign_sites


def manifest(patients: int, clips: int = 2, official: bool = False) -> pd.DataFrame:
    rows = []
    for patient in range(patients):
        for clip in range(clips):
            rows.append(
                {
                    "dataset": "camus",
                    "patient_id": f"p{patient:03d}",
                    "study_id": f"p{patient:03d}s",
                    "clip_id": f"p{patient:03d}-{clip}",
                    "path": f"/x/{patient}-{clip}.nii.gz",
                    "view": ["A4C", "A2C"][clip % 2],
                    "quality": ["Good", "Medium", "Poor"][(patient + clip) % 3],
                    "vendor": "GE",
                    "model": ["Vivid E95", "Vivid S70"][patient % 2],
                    "ef": 20.0 + patient % 60,
                    "split": ("test" if patient % 5 == 0 else "train") if official else None,
                }
            )
    return manifest_from_rows(rows)


@pytest.mark.parametrize("name", list(ProtocolName))
# An example takes half a second: to make a failing one smaller would take minutes.
@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(patients=st.integers(24, 60), clips=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_every_patient_is_whole_and_every_row_is_placed(
    name: ProtocolName, patients: int, clips: int, seed: int
) -> None:
    table = manifest(patients, clips)
    config = ProtocolConfig(name=name, clients=2, alpha=50.0, min_patients=1)
    result = assign_sites(table, config, seed)
    assert len(result) == len(table)
    assert result["site"].notna().all() and result["split"].notna().all()
    assert (result.groupby("patient_id")["site"].nunique() == 1).all()
    assert (result.groupby("patient_id")["split"].nunique() == 1).all()


@pytest.mark.parametrize("name", list(ProtocolName))
def test_official_test_patients_stay_test_patients(name: ProtocolName) -> None:
    table = manifest(40, official=True)
    config = ProtocolConfig(name=name, clients=2, alpha=50.0)
    result = assign_sites(table, config, 3)
    before = set(table.loc[table["split"] == "test", "patient_id"])
    assert set(result.loc[result["split"] == "test", "patient_id"]) == before


def test_a_new_patient_never_moves_another_one() -> None:
    config = ProtocolConfig(test_fraction=0.5, validation_fraction=0.0)
    few = assign_sites(manifest(30), config, 1).set_index("clip_id")["split"]
    many = assign_sites(manifest(31), config, 1).set_index("clip_id")["split"]
    moved = (few != many.reindex(few.index)).groupby(lambda clip: clip.split("-")[0]).any()
    # The cut is by rank, so one extra patient shifts the border by at most one patient.
    assert int(moved.sum()) <= 1


def two_hospitals(official: bool = False) -> pd.DataFrame:
    """``camus`` with 20 patients; ``valley`` with 10 others, whose data set may have a split."""
    valley = manifest(10, official=official).assign(dataset="valley")
    for column in ("patient_id", "study_id", "clip_id"):
        valley[column] = "v" + valley[column]
    return pd.concat([manifest(20), valley], ignore_index=True)


@pytest.mark.parametrize("official", [False, True])
def test_all_patients_of_an_unseen_site_are_test_patients(official: bool) -> None:
    """An official split of theirs does not matter; the other site is split as without them."""
    result = assign_sites(two_hospitals(official), ProtocolConfig(unseen=("valley",)), 3)
    splits = {site: set(rows["split"]) for site, rows in result.groupby("site")}
    assert splits["valley"] == {"test"} and splits["camus"] == {"train", "val", "test"}
    alone = assign_sites(manifest(20), ProtocolConfig(), 3)
    camus = result[result["site"] == "camus"].reset_index(drop=True)
    pd.testing.assert_frame_equal(camus, alone)


def test_unseen_sites_of_other_rules_go_by_the_names_that_these_make() -> None:
    """Half of an archive with an official split: its training patients too are test patients."""
    config = ProtocolConfig(name=ProtocolName.VENDOR_MODEL, unseen=("ge-vivid-s70",))
    result = assign_sites(manifest(20, official=True), config, 3)
    assert set(result.loc[result["site"] == "ge-vivid-s70", "split"]) == {"test"}
    assert set(result.loc[result["site"] == "ge-vivid-e95", "split"]) == {"train", "test"}
    dealt = ProtocolConfig(name=ProtocolName.DIRICHLET, clients=2, alpha=50, unseen=("client-01",))
    result = assign_sites(manifest(40), dealt, 3)
    assert set(result.loc[result["site"] == "client-01", "split"]) == {"test"}


@pytest.mark.parametrize(
    ("unseen", "sentence"),
    [
        (("vally",), r"names 'vally', did you mean `valley`; .* institution makes camus, valley"),
        (("camus", "valley"), r"leaves no site to train on; the protocol institution makes"),
    ],
)
def test_unseen_sites_that_cannot_be_are_refused(unseen: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(PlanError, match=rf"protocol\.unseen {sentence}"):
        assign_sites(two_hospitals(), ProtocolConfig(unseen=unseen), 3)


def test_an_unseen_site_does_not_count_for_min_sites() -> None:
    """One of two sites trains: a round of two could never count."""
    tables = {"protocol": {"unseen": ["valley"]}, "federation": {"min_sites": 2}}
    plan = plan_from_mapping(tables, "test")
    placed = assign_sites(two_hospitals(), plan.protocol, 3)
    with pytest.raises(PlanError, match=r"makes 1 of .* \(camus\) besides valley, which no"):
        check_sites(placed, plan)
    check_sites(placed, plan_from_mapping({"protocol": {"unseen": ["valley"]}}, "test"))


def test_quality_takes_the_worst_view_of_a_patient() -> None:
    """Patient 0 has a Good and a Medium clip, so its home is Medium; derived from manifest()."""
    result = assign_sites(manifest(30), ProtocolConfig(name=ProtocolName.QUALITY), 0)
    assert set(result.loc[result["patient_id"] == "p000", "site"]) == {"quality-medium"}
    assert set(result.loc[result["patient_id"] == "p001", "site"]) == {"quality-poor"}


def test_small_groups_become_other() -> None:
    table = manifest(30)
    table.loc[table["patient_id"] == "p000", "model"] = "Sonos 1"
    result = assign_sites(table, ProtocolConfig(name=ProtocolName.VENDOR_MODEL, min_patients=1), 0)
    assert "ge-sonos-1" in set(result["site"])
    with pytest.raises(EmptySiteError, match="site other has 1 usable patient"):
        assign_sites(table, ProtocolConfig(name=ProtocolName.VENDOR_MODEL, min_patients=2), 0)


def test_dirichlet_with_small_alpha_skews_labels_more() -> None:
    """Sites' mean EF must differ more at alpha 0.1 than at 100, by the law it is drawn from."""
    table = manifest(400, clips=1)

    def spread(alpha: float) -> float:
        config = ProtocolConfig(name=ProtocolName.DIRICHLET, clients=4, alpha=alpha, min_patients=1)
        result = assign_sites(table, config, 5)
        return float(result.groupby("site")["ef"].mean().std())

    assert spread(0.1) > 3 * spread(100.0)


def test_an_unknown_data_set_names_what_was_found() -> None:
    with pytest.raises(DataRootError, match=r"names 'tmed2'; the data roots hold camus:"):
        assign_sites(manifest(10), ProtocolConfig(datasets=("camus", "tmed2")), 0)


def test_a_site_without_patients_is_refused_with_its_name() -> None:
    with pytest.raises(EmptySiteError, match="site camus has 1 usable patient"):
        assign_sites(manifest(1), ProtocolConfig(min_patients=2), 0)


def test_a_protocol_without_its_column_says_which_data_set_lacks_it() -> None:
    table = manifest(10)
    table["quality"] = pd.NA
    with pytest.raises(EmptySiteError, match="needs image quality"):
        assign_sites(table, ProtocolConfig(name=ProtocolName.QUALITY), 0)


def test_every_rule_states_its_caveat() -> None:
    assert set(RULES) == set(ProtocolName)
    assert all(rule.caveat.endswith(".") for rule in RULES.values())
    assert [name for name, rule in RULES.items() if rule.synthetic] == [ProtocolName.DIRICHLET]
