"""The sentences of the verdict, from score tables and paired tables written by hand."""

import pandas as pd

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.labels import leave_one_out_notes, unlabelled
from echofm_core.evaluation.paired import PAIRED_COLUMNS
from echofm_core.evaluation.verdict import sureness, verdict
from echofm_core.tasks import Task

SCORES = ["model", "site", "task", "metric", "value", "low", "high", "patients"]


def scores() -> pd.DataFrame:
    """EF MAE at A, B and C (six patients); the best single site is A alone at A, B alone at B."""
    rows = [
        ("federated", "A", 4.0, 3.5, 4.5, 40), ("federated", "B", 7.0, 6.0, 8.0, 20),
        ("federated", "C", 3.0, 1.0, 5.0, 6), ("federated", "all", 5.0, 4.5, 5.5, 66),
        ("local:A", "A", 6.0, 5.0, 7.0, 40), ("local:A", "B", 9.0, 8.0, 10.0, 20),
        ("local:B", "A", 9.0, 8.0, 10.0, 40), ("local:B", "B", 6.5, 5.5, 7.5, 20),
    ]  # fmt: skip
    return pd.DataFrame(
        [(model, site, "ef", "mae", *rest) for model, site, *rest in rows], columns=SCORES
    )


def paired(*rows: tuple[str, str, str, float, float, float, int, str]) -> pd.DataFrame:
    """Rows of model, rival, site, difference, low, high, n, finding; EF MAE."""
    table = [
        (model, rival, site, "ef", "mae", value, low, high, n, 0.01, 5, 0.05, finding)
        for model, rival, site, value, low, high, n, finding in rows
    ]
    return pd.DataFrame(table, columns=list(PAIRED_COLUMNS))


def census(**labels: dict[str, int]) -> pd.DataFrame:
    """Site -> clips with EF labels in training and test."""
    rows = [
        {"site": site, "split": split, "ef": count, "esv": 0}
        for site, counts in labels.items()
        for split, count in counts.items()
    ]
    return pd.DataFrame(rows, columns=["site", "split", "ef", "esv"])


def lines(table: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    return verdict(table, found, pd.DataFrame(), (Task.EF,), 10)


def test_the_level_names_mean_worst_gap_and_who_is_too_few() -> None:
    """Mean of 4 and 7 is 5.5; C with six patients counts in neither."""
    assert lines(scores(), paired()) == [
        "EF MAE (points), lower is better: federated 7.0 [6.0, 8.0] at B, the worst site (n 20); "
        "gap 3.0 to the best, A; mean 5.5 over 2 sites; 3.0 at C (n 6, too few to judge)."
    ]


def test_the_best_single_site_is_another_at_each_site_and_findings_stand_together() -> None:
    found = paired(
        ("federated", "local:A", "A", -2.0, -3.0, -1.0, 40, "better"),
        ("federated", "local:B", "A", -5.0, -6.0, -4.0, 40, "better"),
        ("federated", "local:A", "B", -2.0, -3.0, -1.0, 20, "better"),
        ("federated", "local:B", "B", 0.5, -0.4, 1.4, 20, "cannot be told apart"),
    )
    assert lines(scores(), found)[1:] == [
        "EF MAE (points), federated against the best single site: better at A (A alone, -2.00 "
        "[-3.00, -1.00], n 40); cannot be told apart at B (B alone, +0.50 [-0.40, +1.40], n 20)."
    ]


def test_overlapping_intervals_of_levels_decide_nothing() -> None:
    """At B both intervals of the levels overlap; the paired comparison says worse, and that is
    what is said."""
    found = paired(("federated", "local:B", "B", 0.5, 0.2, 0.8, 20, "worse"))
    text = " ".join(lines(scores(), found))
    assert "worse at B (B alone, +0.50 [+0.20, +0.80], n 20)" in text
    assert "overlap" not in text and "chance" not in text


def test_equal_is_said_only_of_what_is_equal() -> None:
    found = paired(("federated", "pooled", "A", 0.0, 0.0, 0.0, 40, "equal"))
    assert lines(scores(), found)[1] == (
        "EF MAE (points), federated against pooled data: equal at A (+0.00 [+0.00, +0.00], n 40)."
    )


def test_a_model_that_does_not_beat_the_floor_says_so() -> None:
    """The federation beats it in the mean and not at B. Leave-one-out does not in the mean, so
    that its sites are not listed again. B alone does not at B. The worst site is in the finding of
    the mean already, and no comparison of its own."""
    found = paired(
        ("federated", "no_network", "mean of sites", -1.0, -1.5, -0.5, 60, "better"),
        ("federated", "no_network", "B", 0.1, -0.5, 0.7, 20, "cannot be told apart"),
        ("leave_one_out", "no_network", "mean of sites", 1.0, 0.5, 1.5, 60, "worse"),
        ("leave_one_out", "no_network", "B", 1.0, 0.5, 1.5, 20, "worse"),
        ("leave_one_out", "no_network", "worst site", 1.0, 0.5, 1.5, 60, "worse"),
        ("local:A", "no_network", "A", -1.0, -1.5, -0.5, 40, "better"),
        ("local:B", "no_network", "B", 0.2, -0.5, 0.9, 20, "cannot be told apart"),
    )
    assert lines(scores(), found)[1:] == [
        "EF MAE (points), federated beats no network (ridge) only in part: better in the mean "
        "over sites (-1.00 [-1.50, -0.50], n 60); cannot be told apart at B (+0.10 [-0.50, "
        "+0.70], n 20).",
        "EF MAE (points), these do not beat no network (ridge): leave one out worse in the mean "
        "over sites (+1.00 [+0.50, +1.50], n 60); B alone cannot be told apart at B (+0.20 [-0.50, "
        "+0.90], n 20).",
    ]
    assert "federated beats no network (ridge): better" in lines(scores(), found.iloc[:1])[1]
    failing = found.iloc[1:2]
    assert "federated does not beat no network (ridge): cannot" in lines(scores(), failing)[1]


def test_a_site_never_seen_has_a_sentence_of_its_own() -> None:
    """V counts neither in the mean of A and B nor among their comparisons; B alone is best there,
    so that A alone is not named."""
    rows = [
        ("federated", "V", "ef", "mae", 6.0, 5.0, 7.0, 30),
        ("local:A", "V", "ef", "mae", 9.0, 8.0, 9.9, 30),
        ("local:B", "V", "ef", "mae", 8.0, 7.0, 9.0, 30),
    ]
    table = pd.concat([scores(), pd.DataFrame(rows, columns=SCORES)])
    found = paired(
        ("federated", "pooled", "A", 0.5, 0.2, 0.8, 40, "worse"),
        ("federated", "pooled", "V", 0.5, -0.2, 1.2, 30, "cannot be told apart"),
        ("federated", "local:A", "V", -3.0, -4.0, -2.0, 30, "better"),
        ("federated", "local:B", "V", -2.0, -3.0, -1.0, 30, "better"),
        ("federated", "no_pretraining", "V", -1.0, -1.5, -0.5, 30, "better"),
        ("federated", "no_network", "V", -4.0, -5.0, -3.0, 30, "better"),
    )
    lines = verdict(table, found, pd.DataFrame(), (Task.EF,), 10, ("V",))
    assert "mean 5.5 over 2 sites" in lines[0] and "V" not in lines[0]
    assert lines[1:] == [
        "EF MAE (points), federated against pooled data: worse at A (+0.50 [+0.20, +0.80], n 40).",
        "EF MAE (points), lower is better, where no model trained: federated 6.0 [5.0, 7.0] at V "
        "(n 30), the one site to judge by; against the best single site better at V (B alone, "
        "-2.00 [-3.00, -1.00], n 30); "
        "against pooled data cannot be told apart at V (+0.50 [-0.20, +1.20], n 30); "
        "against no pre-training better at V (-1.00 [-1.50, -0.50], n 30); "
        "against no network (ridge) better at V (-4.00 [-5.00, -3.00], n 30).",
    ]


def test_several_sites_never_seen_are_judged_together() -> None:
    """Locally, A alone has the better mean there, B alone the better W: A alone is the rival."""
    rows = [("federated", "V", 5.0), ("federated", "W", 6.0), ("federated", "never seen", 5.5),
            ("local:A", "V", 6.0), ("local:A", "W", 8.0),
            ("local:B", "V", 9.0), ("local:B", "W", 7.0)]  # fmt: skip
    unseen = [(model, site, "ef", "mae", v, v - 1, v + 1, 30) for model, site, v in rows]
    table = pd.concat([scores(), pd.DataFrame(unseen, columns=SCORES)])
    found = paired(
        ("federated", "pooled", "V", 0.5, 0.2, 0.8, 30, "worse"),
        (
            "federated",
            "pooled",
            "mean never seen",
            -0.5,
            -0.8,
            -0.2,
            60,
            "better but for the worst site",
        ),
        ("federated", "pooled", "worst never seen", 0.5, 0.2, 0.8, 60, "worse"),
        ("federated", "local:A", "mean never seen", -1.5, -2.0, -1.0, 60, "better"),
        ("federated", "local:B", "mean never seen", -2.5, -3.0, -2.0, 60, "better"),
    )
    assert verdict(table, found, pd.DataFrame(), (Task.EF,), 10, ("V", "W"))[1:] == [
        "EF MAE (points), lower is better, where no model trained: federated 6.0 [5.0, 7.0] at W, "
        "the worst site (n 30); gap 1.0 to the best, V; mean 5.5 over 2 sites; against the best "
        "single site better in the mean over sites never seen (A alone, -1.50 [-2.00, -1.00], n "
        "60); against pooled data better but for the worst site in the mean over sites never seen "
        "(-0.50 [-0.80, -0.20], n 60), worse at the worst site never seen (+0.50 [+0.20, +0.80], "
        "n 60)."
    ]


def test_one_site_is_called_one_site() -> None:
    only = scores()[scores()["site"] == "A"]
    assert lines(only, paired()) == [
        "EF MAE (points), lower is better: federated 4.0 [3.5, 4.5] at A (n 40), the one site to "
        "judge by."
    ]


def test_a_model_that_stands_alone_is_described_by_its_own_name() -> None:
    only = scores()[scores()["model"] == "local:A"].replace("local:A", "alone")
    assert lines(only, paired())[0].startswith("EF MAE (points), lower is better: alone 9.0")


def test_planned_tasks_without_labels_have_their_reason() -> None:
    """EF is trained at A and tested nowhere; ESV has no labels anywhere."""
    table = census(A={"train": 5, "test": 0}, B={"train": 0, "test": 0})
    said = verdict(scores().iloc[:0], paired(), table, (Task.EF, Task.ESV), 10)
    assert said == [
        "EF: nobody has test labels (training labels: A).",
        "ESV: nobody has labels.",
    ]
    assert unlabelled(census(A={"train": 0, "test": 3}), (Task.EF,)) == {
        Task.EF: "nobody has training labels (test labels: A)"
    }
    assert unlabelled(table, (Task.EF,), {"ef"}) == {}


def test_leave_one_out_of_two_is_the_other_site_alone() -> None:
    two = census(A={"train": 5, "test": 2}, B={"train": 4, "test": 2}, C={"train": 0, "test": 2})
    (note,) = leave_one_out_notes(two, (Task.EF, Task.ESV))
    assert note.startswith('Only A and B have training labels for EF: there, "leave one out" is')
    three = census(A={"train": 5}, B={"train": 4}, C={"train": 1})
    assert leave_one_out_notes(three, (Task.EF, Task.ESV)) == []


def test_how_sure_counts_comparisons_and_those_told_apart() -> None:
    """One family of two against other models, one of one against the floor."""
    found = paired(
        ("federated", "pooled", "A", 0.5, 0.2, 0.8, 40, "worse"),
        ("federated", "pooled", "B", 0.5, 0.2, 0.8, 20, "cannot be told apart"),
        ("federated", "no_network", "B", 0.5, 0.2, 0.8, 20, "better"),
    )
    text = " ".join(sureness(found, EvaluationConfig()))
    assert "(20 to 40)" in text and "95% interval" in text
    assert "at the level of 0.05 for the 1 to 2 comparisons of a table together (Holm)" in text
    assert "2 of 3 tell two models apart" in text and "fewer than 10 test patients" in text
    assert sureness(paired(), EvaluationConfig()) == []


def test_what_is_not_counted_is_said_and_takes_no_part() -> None:
    """One of three rows repeats another: two comparisons, of which one tells two models apart."""
    found = paired(
        ("federated", "local", "A", 0.5, 0.2, 0.8, 40, "worse"),
        ("federated", "local:A", "A", 0.5, 0.2, 0.8, 40, "worse"),
        ("federated", "local", "B", 0.5, 0.2, 0.8, 20, "cannot be told apart"),
    ).assign(counted=[True, False, True])
    text = " ".join(sureness(found, EvaluationConfig()))
    assert "for the 2 comparisons of a table together" in text
    assert "1 of 2 tells two models apart. 1 row more is not counted: the same" in text
    alike = sureness(found.assign(counted=False), EvaluationConfig())
    assert alike == ["No two models that were compared differ in a prediction."]


def test_the_worst_site_is_explained_where_it_is_asked_for_and_counts_as_no_claim() -> None:
    found = paired(
        ("federated", "pooled", "mean of sites", -0.5, -0.8, -0.2, 60, "better"),
        ("federated", "pooled", "worst site", 0.5, -0.2, 0.8, 60, "cannot be told apart"),
    )
    text = " ".join(sureness(found, EvaluationConfig()))
    assert "1 of 1 tells two models apart" in text
    assert "also needs that the worst site is not worse: the 95% interval" in text


def test_one_comparison_needs_no_correction_and_no_plural() -> None:
    found = paired(("federated", "pooled", "A", 0.5, 0.2, 0.8, 40, "worse"))
    text = " ".join(sureness(found, EvaluationConfig()))
    assert "the same patients (40);" in text
    assert "at the level of 0.05 for the one comparison of a table: 1 of 1 tells two" in text
    assert "Holm" not in text
