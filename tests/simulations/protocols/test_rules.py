"""What each rule makes of manifests that can be counted by hand, and what it refuses."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.protocol import ProtocolConfig, ProtocolName
from echofm_core.runtime.errors import EmptySiteError, PlanError
from simulations.prepare import check_sites
from simulations.protocols.assign import assign_sites
from tests.simulations.protocols.made import config_of, manifest, of_rule


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
        (("vally",), r"names 'vally', did you mean 'valley'; .* institution makes camus, valley"),
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


def test_dirichlet_skews_classes_of_stenosis_where_there_is_nothing_else() -> None:
    """Of 300 patients a third each; without skew each site has a third too."""
    table = manifest(300, clips=1).assign(ef=pd.array([pd.NA] * 300, "Float32"))
    table["as_class"] = pd.array([number % 3 for number in range(300)], "Int32")

    def shares(alpha: float) -> pd.Series:
        config = ProtocolConfig(name=ProtocolName.DIRICHLET, clients=3, alpha=alpha, min_patients=1)
        result = assign_sites(table, config, 5)
        return (result["as_class"] == 2).groupby(result["site"]).mean()

    assert shares(0.1).max() > 0.6 and shares(1000.0).max() < 0.45


def test_an_unknown_data_set_names_what_was_found() -> None:
    with pytest.raises(PlanError, match=r"names 'tmed2'; the data roots hold camus:"):
        assign_sites(manifest(10), ProtocolConfig(datasets=("camus", "tmed2")), 0)


def test_a_site_without_patients_is_refused_with_its_name() -> None:
    with pytest.raises(EmptySiteError, match="site camus has 1 usable patient"):
        assign_sites(manifest(1), ProtocolConfig(min_patients=2), 0)


def test_a_protocol_without_its_column_says_which_data_set_lacks_it() -> None:
    table = manifest(10)
    table["quality"] = pd.NA
    with pytest.raises(EmptySiteError, match="needs image quality"):
        assign_sites(table, ProtocolConfig(name=ProtocolName.QUALITY), 0)


def homes(result: pd.DataFrame) -> dict[str, set[str]]:
    """Site -> its patients."""
    return {site: set(rows["patient_id"]) for site, rows in result.groupby("site")}


def test_bands_are_cut_at_the_edges_and_an_edge_lies_above() -> None:
    """Frame rates are 30 and on, one a patient: 30 to 39, 40 to 49, and 50 to 59 Hz."""
    config = config_of(ProtocolName.ACQUISITION, edges=(40.0, 50.0))
    found = homes(assign_sites(manifest(30), config, 0))
    assert {site: (min(people), max(people)) for site, people in found.items()} == {
        "fps-band-1": ("p000", "p009"),
        "fps-band-2": ("p010", "p019"),
        "fps-band-3": ("p020", "p029"),
    }


def test_without_edges_bands_are_thirds_and_unknown_patients_are_apart() -> None:
    """The median of a patient's clips counts; depths are 12 to 18 cm, and p000 has none."""
    table = manifest(28, clips=3)
    table.loc[table["patient_id"] == "p000", "depth_cm"] = pd.NA
    table.loc[table["clip_id"] == "p001-0", "depth_cm"] = 50.0  # the others are 13 cm
    config = config_of(ProtocolName.ACQUISITION, acquisition="depth_cm")
    result = assign_sites(table, config, 0)
    found = homes(result)
    assert set(found) == {"depth-band-1", "depth-band-2", "depth-band-3", "other"}
    assert found["other"] == {"p000"} and "p001" in found["depth-band-1"]
    depths = table.groupby("patient_id")["depth_cm"].median()
    tops = [depths[list(found[f"depth-band-{band}"])].max() for band in (1, 2)]
    lows = [depths[list(found[f"depth-band-{band}"])].min() for band in (2, 3)]
    assert tops[0] < lows[0] and tops[1] < lows[1]


def test_a_care_setting_is_a_site_by_its_name() -> None:
    found = homes(assign_sites(manifest(10), config_of(ProtocolName.CARE_SETTING), 0))
    assert found == {
        "care-ward-3": {f"p{n:03d}" for n in range(0, 10, 2)},
        "care-outpatient": {f"p{n:03d}" for n in range(1, 10, 2)},
    }


def test_alike_sites_are_as_large_but_for_one_patient() -> None:
    found = homes(assign_sites(manifest(31), config_of(ProtocolName.IID, clients=4), 0))
    assert sorted(map(len, found.values())) == [7, 8, 8, 8]


def test_sizes_are_log_normal_by_the_spread() -> None:
    """Over 40 draws of 8 sites the deviation of log sizes is the spread, give or take a fifth."""
    table, logs = manifest(400, clips=1), []
    for seed in range(40):
        config = config_of(ProtocolName.QUANTITY, clients=8, spread=0.5)
        sizes = assign_sites(table, config, seed)["site"].value_counts()
        logs.append(np.log(sizes.to_numpy(dtype=float)).std(ddof=1))
    assert np.mean(logs) == pytest.approx(0.5, rel=0.2)
    alike = config_of(ProtocolName.QUANTITY, clients=8, spread=0.0)
    assert set(assign_sites(table, alike, 0)["site"].value_counts()) == {50}


def test_small_alpha_skews_the_share_of_views_more() -> None:
    table = manifest(300, clips=1)

    def spread(alpha: float) -> float:
        config = config_of(ProtocolName.VIEW_SKEW, clients=4, alpha=alpha)
        result = assign_sites(table, config, 2)
        return float((result["view"] == "PLAX").groupby(result["site"]).mean().std())

    assert spread(0.3) > 3 * spread(100.0)


def test_views_that_every_patient_has_alike_cannot_be_skewed() -> None:
    table = manifest(20)
    table = table[table["view"] != "PLAX"]
    with pytest.raises(EmptySiteError, match="most clips of every patient show A2C"):
        assign_sites(table, config_of(ProtocolName.VIEW_SKEW), 0)


def test_the_clients_of_fedcvd_are_its_three_data_sets() -> None:
    result = assign_sites(of_rule(ProtocolName.FEDCVD, 30), config_of(ProtocolName.FEDCVD), 0)
    assert set(result["site"]) == {"camus", "echonet_dynamic", "hmc_qu"}


@pytest.mark.parametrize(
    ("datasets", "views"),
    [
        (("camus", "hmc_qu"), ("A4C",)),
        (("camus", "echonet_dynamic", "hmc_qu", "tmed2"), ("A4C",)),
        (("camus", "camus_mhd", "echonet_dynamic", "hmc_qu"), ("A4C",)),
        (("camus", "echonet_dynamic", "hmc_qu"), ()),
    ],
)
def test_other_clients_than_those_of_fedcvd_are_refused(
    datasets: tuple[str, ...], views: tuple[str, ...]
) -> None:
    config = config_of(ProtocolName.FEDCVD, views=views)
    with pytest.raises(PlanError, match=r"once each, with views = \['A4C'\]"):
        assign_sites(manifest(40, datasets=datasets), config, 0)


def test_edges_must_ascend() -> None:
    with pytest.raises(PlanError, match=r"\[50.0, 40.0\] does not ascend"):
        plan_from_mapping({"protocol": {"edges": [50.0, 40.0]}}, "test")


def test_plans_from_before_the_later_keys_keep_their_hash() -> None:
    """None of them stands in a plan that leaves it at its default."""
    assert not set(ProtocolConfig().model_dump()) & {"unseen", "spread", "acquisition", "edges"}
    assert config_of(ProtocolName.QUANTITY, spread=2.0).model_dump()["spread"] == 2.0


def test_a_device_is_a_scanner_by_another_name_and_the_page_lists_every_rule() -> None:
    plan = plan_from_mapping({"protocol": {"name": "device"}}, "test")
    assert plan.protocol == ProtocolConfig(name=ProtocolName.VENDOR_MODEL)
    page = (Path(__file__).parents[3] / "docs/reference/protocols.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)`", page, re.M)) == sorted([*ProtocolName, "name"])


@pytest.mark.parametrize("official", [False, True])
def test_an_unseen_site_keeps_patients_back_where_they_may_be_of_use(official: bool) -> None:
    """A fifth of 10 patients are test patients, or the official ones (v000 and v005); none is for
    validation, and the other site is split as ever."""
    config = ProtocolConfig(unseen=("valley",))
    table = two_hospitals(official)
    result = assign_sites(table, config, 3, few_shot=True)
    valley = result[result["site"] == "valley"]
    tested = set(valley.loc[valley["split"] == "test", "patient_id"])
    assert len(tested) == 2 and set(valley["split"]) == {"train", "test"}
    assert not official or tested == {"vp000", "vp005"}
    usual = assign_sites(table, config, 3)
    pd.testing.assert_frame_equal(
        result[result["site"] == "camus"], usual[usual["site"] == "camus"]
    )
    lending = assign_sites(table, config.model_copy(update={"unlabelled_target": True}), 3)
    pd.testing.assert_frame_equal(result, lending)


def test_an_unseen_site_without_a_test_patient_is_refused() -> None:
    """A tenth of 2 patients is nobody."""
    table = two_hospitals()
    table = table[~table["patient_id"].isin([f"vp{n:03d}" for n in range(2, 10)])]
    config = ProtocolConfig(unseen=("valley",), test_fraction=0.1)
    with pytest.raises(EmptySiteError, match=r"site valley, which no model sees, has 2 patients"):
        assign_sites(table, config, 3, few_shot=True)


def test_quality_in_a_hospitals_own_capitals() -> None:
    table, config = manifest(10), ProtocolConfig(name=ProtocolName.QUALITY)
    written = table.assign(quality=" " + table["quality"].str.upper())
    pd.testing.assert_series_equal(
        assign_sites(written, config, 0)["site"], assign_sites(table, config, 0)["site"]
    )
    with pytest.raises(EmptySiteError, match="needs image quality"):  # not one site called `other`
        assign_sites(table.assign(quality="gut"), config, 0)


def test_clips_that_name_no_scanner_do_not_outvote_one_that_does() -> None:
    table = manifest(8, clips=3)
    table.loc[table["clip_id"].str.endswith(("-0", "-1")), ["vendor", "model"]] = pd.NA
    config = ProtocolConfig(name=ProtocolName.VENDOR_MODEL)
    assert set(assign_sites(table, config, 0)["site"]) == {"ge-vivid-e95", "ge-vivid-s70"}
