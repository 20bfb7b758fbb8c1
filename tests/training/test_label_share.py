"""Whose labels are used, from manifests written by hand."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest

from echofm_core.data.manifest import manifest_from_rows
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.training.label_share import as_trained, label_share_notes, withheld

#: Site -> labelled training patients; each has two clips, of A4C and of A2C.
LABELLED = {"A": 20, "B": 8, "C": 1}


def manifest() -> pd.DataFrame:
    """Beside the labelled ones, A trains on five patients without labels; each site validates and
    tests two with EF. C grades stenosis."""
    counts = [(site, "train", count, True) for site, count in LABELLED.items()]
    counts += [(site, split, 2, True) for site in LABELLED for split in ("val", "test")]
    counts += [("A", "train", 5, False)]
    rows = []
    for site, split, count, labelled in counts:
        label = {"as_grade": 2} if site == "C" else {"ef": 55.0, "edv": 100.0}
        for number in range(count):
            name = f"{split}-{labelled}-{number}"  # equal numbers at two sites are two patients
            for view in ("A4C", "A2C"):
                rows.append(
                    {
                        "dataset": site, "site": site, "patient_id": name, "path": "/x",
                        "clip_id": f"{site}-{name}-{view}", "split": split, "view": view,
                        **(label if labelled else {}),
                    }
                )  # fmt: skip
    return manifest_from_rows(rows)


def plan_of(share: float, seed: int = 0, **tables: object) -> Plan:
    values = {"seed": seed, "finetune": {"label_fraction": share}, **tables}
    return plan_from_mapping(values, "of a test")


def patients(table: pd.DataFrame, split: str = "train") -> set[tuple[str, str]]:
    """Site and number of the patients of a split with any label."""
    rows = table[(table["split"] == split) & (table["ef"].notna() | table["as_grade"].notna())]
    return set(rows[["site", "patient_id"]].itertuples(index=False, name=None))


def used(share: float, seed: int = 0) -> set[tuple[str, str]]:
    return patients(as_trained(manifest(), plan_of(share, seed)))


def count(found: set[tuple[str, str]]) -> dict[str, int]:
    return {site: sum(one[0] == site for one in found) for site in LABELLED}


def test_a_share_is_of_the_patients_of_each_site_and_at_least_one() -> None:
    """Of 20, 8 and 1: a tenth is 2, 0.8 and 0.1; a hundredth rounds to none anywhere."""
    assert count(used(0.1)) == {"A": 2, "B": 1, "C": 1}
    assert count(used(0.01)) == {"A": 1, "B": 1, "C": 1}
    assert count(used(0.5)) == {"A": 10, "B": 4, "C": 1}
    assert count(used(1.0)) == LABELLED


def test_smaller_shares_are_parts_of_larger_ones_and_seeds_draw_others() -> None:
    shares = [used(share) for share in (0.1, 0.25, 0.5, 0.9, 1.0)]
    assert all(few < many for few, many in pairwise(shares))
    assert len({frozenset(used(0.25, seed)) for seed in range(5)}) == 5


def test_each_site_has_a_draw_of_its_own() -> None:
    """The same twenty patients, at a site of another name: ten of them, not always the same ten."""
    rows = manifest()
    rows = rows[rows["site"] == "A"]
    same = []
    for seed in range(5):
        plan = plan_of(0.5, seed)
        here, there = (
            {name for _, name in patients(as_trained(rows.assign(site=site), plan))}
            for site in ("A", "Z")
        )
        assert len(here) == len(there) == 10
        same.append(here == there)
    assert not any(same)


def test_nothing_else_of_the_manifest_changes() -> None:
    before, after = manifest(), as_trained(manifest(), plan_of(0.1))
    labels = ["ef", "edv", "esv", "as_grade"]
    pd.testing.assert_frame_equal(before.drop(columns=labels), after.drop(columns=labels))
    rest = before["split"] != "train"
    pd.testing.assert_frame_equal(before[rest], after[rest])
    both = after["ef"].isna() == after["edv"].isna()
    assert both.all()
    assert as_trained(before, plan_of(1.0)) is before


def test_without_pre_training_the_others_are_not_trained_on_at_all() -> None:
    """A tenth of 20, 8 and 1, two clips each, and the five of A that never had a label."""
    tuned = as_trained(manifest(), plan_of(0.1, pretrain={"rounds": 0}))
    train = tuned[tuned["split"] == "train"]
    counts = train.groupby("site")["patient_id"].nunique().to_dict()
    assert counts == {"A": 2 + 5, "B": 1, "C": 1}
    masked = as_trained(manifest(), plan_of(0.1))
    assert patients(tuned) == patients(masked)
    assert len(tuned[tuned["split"] != "train"]) == len(masked[masked["split"] != "train"])
    only = plan_of(0.1, finetune={"label_fraction": 0.1, "rounds": 0})
    assert as_trained(manifest(), only)["ef"].notna().sum() == manifest()["ef"].notna().sum()


def test_a_site_sees_the_patients_that_pooled_data_see() -> None:
    """Rows of one site alone, in another order, without those that have no label."""
    whole, config = manifest(), plan_of(0.25).finetune
    whole = whole[whole["split"] == "train"]
    together = set(whole.loc[withheld(whole, config, 0), "clip_id"])
    for site in LABELLED:
        rows = whole[(whole["site"] == site) & (whole["ef"].notna() | whole["as_grade"].notna())]
        rows = rows.sample(frac=1.0, random_state=1)
        hidden = set(rows.loc[withheld(rows, config, 0), "clip_id"])
        assert hidden == {clip for clip in together if clip.startswith(f"{site}-")}


def test_who_withdraws_is_replaced_by_one_other_at_most() -> None:
    """A quarter of 20 is 5, and of 19 still 5 (4.75)."""
    before = {name for site, name in used(0.25) if site == "A"}
    for gone in before:
        rows = manifest()
        rows = rows[(rows["site"] == "A") & (rows["patient_id"] != gone)]
        after = {name for _, name in patients(as_trained(rows, plan_of(0.25)))}
        assert len(after) == 5 and before - {gone} < after


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"protocol": {"views": ["A2C"]}}, {"A": 10, "B": 4, "C": 1}),
        ({"protocol": {"views": ["PLAX"]}}, {"A": 20, "B": 8, "C": 1}),
        ({"finetune": {"label_fraction": 0.5, "tasks": ["as_grade"]}}, {"A": 20, "B": 8, "C": 1}),
        ({"finetune": {"label_fraction": 0.5, "tasks": ["edv"]}}, {"A": 20, "B": 8, "C": 1}),
    ],
)
def test_labels_count_where_the_plan_uses_them(
    tables: dict[str, object], expected: dict[str, int]
) -> None:
    """Half of them, with an EF or a grade left in a clip of a used view; where no view or no task
    is used nothing is drawn. A label of another task than the plan's is let be."""
    table = as_trained(manifest(), plan_of(0.5, **tables))
    assert count(patients(table[table["view"] == "A2C"])) == expected


def test_a_task_of_the_plan_decides_who_has_a_label() -> None:
    """Half of the twenty with an EDV."""
    plan = plan_of(0.5, finetune={"label_fraction": 0.5, "tasks": ["edv"]})
    table = as_trained(manifest(), plan)
    rows = table[(table["split"] == "train") & (table["site"] == "A") & table["edv"].notna()]
    assert rows["patient_id"].nunique() == 10


def test_readers_are_told_how_many_and_who_chooses_the_round() -> None:
    assert label_share_notes(plan_of(1.0), manifest()) == []
    (note,) = label_share_notes(plan_of(0.25), manifest())
    assert note == (
        "finetune.label_fraction is 0.25: fine-tuning uses the labels of that share of each site's "
        "labelled training patients: 5 of 20 at A, 2 of 8 at B, 1 of 1 at C. Validation patients "
        "keep theirs."
    )
    for tables in (
        {"federation": {"select": "best"}},
        {"finetune": {"label_fraction": 0.25, "patience": 2}},
    ):
        (note,) = label_share_notes(plan_of(0.25, **tables))
        assert note.endswith("labelled training patients. Validation patients keep theirs, and "
                             "they choose the round.")  # fmt: skip
