"""What a dry run says that the test patients can show."""

from __future__ import annotations

import re

import pandas as pd

from echofm_core.data.manifest import manifest_from_rows
from echofm_core.plan.load import plan_from_mapping
from simulations.study.power import detectable_notes
from tests.simulations.study.test_estimate import people


def manifest() -> pd.DataFrame:
    """Test patients with an EF: 100 at A, 20 at B, 5 at C, 40 at D."""
    counts = {"A": 100, "B": 20, "C": 5, "D": 40}
    return manifest_from_rows(
        [row for site, count in counts.items() for row in people(site, "test", count, ef=50.0)]
    )


def test_shares_of_the_error_are_those_of_a_paired_test() -> None:
    """C's five are too few to judge, and in no comparison.

    Of a single comparison of N patients about (1.96 + 0.84) / sqrt(N) standard deviations of
    the difference, which is sqrt(pi / 2 - 1) of the error where errors are normal and correlated
    by a half; a little more by Student's law. Eight comparisons make it 2.73 + 0.84."""
    plan = plan_from_mapping({"protocol": {"unseen": ["D"]}}, "test")
    (note,) = detectable_notes(plan, manifest(), rivals=2)
    # Two rivals at A, B and in their mean; at D, the one site never seen.
    assert "one of 8 comparisons at the level of 0.05" in note
    found = re.findall(r"(\d+) % of that error for the (\d+) test patients (.+?)(?=, \d|;)", note)
    assert [(int(count), which) for _, count, which in found] == [
        (120, "of the sites that train"),
        (20, "of B alone"),
        (40, "of sites never seen"),
    ]
    for share, count, _ in found:
        plain = 100 * (2.73 + 0.84) * 0.7555 / int(count) ** 0.5
        assert plain - 1 <= int(share) <= 1.2 * plain


def test_a_site_alone_that_a_study_names_twice_counts_once() -> None:
    """Local is a row at home, and so is each site alone: of eight comparisons that of A alone at A
    repeats one, since A has training labels; B has none, so that there is no model of it."""
    plan = plan_from_mapping(
        {"protocol": {"unseen": ["D"]}, "study": {"methods": ["fedavg", "local"]}}, "test"
    )
    rows = pd.concat([manifest(), manifest_from_rows(people("A", "train", 9, ef=50.0))])
    (note,) = detectable_notes(plan, rows, rivals=2)
    assert "one of 7 comparisons at the level of 0.05" in note


def test_patients_of_sites_that_are_too_small_show_nothing() -> None:
    """No site has ten: none is compared, together neither; likewise where it is never seen."""
    rows = [row for site in "ABC" for row in people(site, "test", 9, ef=50.0)]
    for unseen in ([], ["C"]):
        plan = plan_from_mapping({"protocol": {"unseen": unseen}}, "test")
        assert detectable_notes(plan, manifest_from_rows(rows), rivals=2) == []
    plan = plan_from_mapping({"protocol": {"unseen": ["C", "D"]}}, "test")
    (note,) = detectable_notes(plan, manifest(), rivals=2)
    assert "for the 40 test patients of sites never seen" in note


def test_nothing_is_said_where_there_is_nothing_to_compare() -> None:
    plan = plan_from_mapping({}, "test")
    assert detectable_notes(plan, manifest(), rivals=0) == []
    other = plan_from_mapping({"finetune": {"tasks": ["esv"]}}, "test")
    assert detectable_notes(other, manifest(), rivals=2) == []
    assert detectable_notes(plan, manifest_from_rows(people("A", "test", 9, as_grade=1)), 2) == []
