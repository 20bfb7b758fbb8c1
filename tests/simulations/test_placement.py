"""Sentences on who is where, counted by hand."""

import pandas as pd

from echofm_core.data.splits import split_digest
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from simulations.placement import placement_notes
from simulations.protocols.assign import assign_sites
from tests.simulations.protocols.made import manifest


def notes(table: pd.DataFrame, **protocol: object) -> list[str]:
    plan = plan_from_mapping({"protocol": protocol, "finetune": {"tasks": ["ef"]}}, "test")
    return placement_notes(assign_sites(table, plan.protocol, 0), plan)


def test_patients_without_a_label_are_counted_at_their_site() -> None:
    """p000 and p001 have no EF; p002 has one at one of its two clips."""
    table = manifest(10)
    table.loc[table["patient_id"].isin(["p000", "p001"]), "ef"] = pd.NA
    table.loc[table["clip_id"] == "p002-0", "ef"] = pd.NA
    assert notes(table) == [
        "2 of 10 patients have no label for a planned task in the views that are used "
        "(2 at camus): their clips are for pre-training alone."
    ]
    assert notes(manifest(10)) == []


def test_labels_in_views_that_are_not_used_do_not_count() -> None:
    """Every third of ten patients has PLAX alone: p000, p003, p006 and p009."""
    (sentence,) = notes(manifest(10), views=["A4C"])
    assert sentence.startswith("4 of 10 patients have no label")


def test_patients_of_no_group_are_counted() -> None:
    table = manifest(12)
    table.loc[table["patient_id"] < "p003", "care_setting"] = pd.NA
    (sentence,) = notes(table, name="care_setting")
    assert sentence.startswith("The site other holds 3 patients whose group is not known")


def test_bands_are_named_by_the_least_and_the_largest_median() -> None:
    """Frame rates are 30 to 41 Hz, one a patient."""
    (sentence,) = notes(manifest(12), name="acquisition", edges=[35.0])
    assert sentence == (
        "Bands of fps, by the median of a patient's clips: fps-band-1 30 to 34, fps-band-2 "
        "35 to 41."
    )


def test_the_hash_of_a_split_is_of_who_is_where_alone() -> None:
    placed = assign_sites(manifest(10), Plan().protocol, 0)
    assert split_digest(placed) == split_digest(placed[::-1].assign(ef=1.0, path="/elsewhere"))
    for column in ("split", "site", "patient_id"):
        moved = placed.assign(**{column: placed[column].mask(placed["clip_id"] == "p000-0", "x")})
        assert split_digest(moved) != split_digest(placed)
