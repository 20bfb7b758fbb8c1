"""Every number by hand from the made diagnosis; the three ways to read it say the same."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from echofm_core.data.doctor.count import count, quantities, spread, summary
from echofm_core.data.doctor.numbers import Count, Shared, Spread
from echofm_core.data.doctor.page import to_json
from echofm_core.data.doctor.tables import print_summary, top
from tests.data.doctor.made import COLOUR, FINDINGS, MANIFEST, SCRIPT, clip, made, nothing

CAMUS, LOST, NORTH = range(3)


def printed(diagnosis, width: int = 100) -> list[str]:
    """Lines of the summary, as a log sees them."""
    file = io.StringIO()
    console = Console(file=file, width=width, soft_wrap=True, highlight=False)
    print_summary(summary(diagnosis), console)
    return file.getvalue().splitlines()


def test_data_sets_by_hand() -> None:
    found = summary(made())
    facts = [(p.dataset, p.public, p.clips, p.patients, p.studies, p.decoded) for p in found.parts]
    assert facts == [
        ("camus", True, 4, 3, 3, 3),
        ("lost", True, 0, 0, 0, 0),
        ("north", False, 3, 2, 3, 1),
    ]
    findings = [(part.quarantined, part.repaired, part.noted) for part in found.parts]
    assert findings == [(2, 1, 0), (1, 0, 0), (0, 1, 1)]
    assert (found.clips, found.decoded) == (7, 4)


def test_counts_by_hand() -> None:
    parts = summary(made()).parts
    counts = parts[CAMUS].counts
    assert counts["view"] == (Count("A4C", 3), Count("A2C", 1))
    assert counts["split"] == (Count("train", 2), Count("val", 1), Count("test", 1))
    labels = {item.value: item.clips for item in counts["label"]}
    assert labels == {"EF": 3, "EDV": 1, "ESV": 1, "AS grade": 0, "AS class": 0}
    assert counts["as_grade"] == (Count(None, 4),)
    assert counts["sex"] == (Count("F", 2), Count("M", 1), Count(None, 1))
    assert counts["scanner"] == (Count("GE", 1), Count("GE Vivid", 1), Count(None, 2))
    assert counts["frame_rate"] == (Count("35-45", 1), Count("45-55", 3))
    north = parts[NORTH].counts
    assert north["as_grade"] == (Count("none", 1), Count("severe", 1), Count(None, 1))
    assert {item.value: item.clips for item in north["label"]}["AS class"] == 2
    assert north["quality"] == (Count("poor", 1), Count(None, 2))


def test_classes_of_stenosis_count_beside_grades() -> None:
    """Of three clips of north one has a class alone; grades 0 and 4 are the other classes."""
    rows = MANIFEST.copy()
    rows.loc[rows["as_grade"].isna() & (rows["dataset"] == "north"), "as_class"] = 1
    north = summary(made(manifest=rows)).parts[NORTH].counts
    assert north["as_grade"] == (Count("none", 1), Count("severe", 1), Count(None, 1))
    assert north["as_class"] == (Count("none", 1), Count("early", 1), Count("significant", 1))


def test_common_frame_rates_share_a_band() -> None:
    """29.97, 30 and 25 Hz are all in 22 to 35."""
    assert summary(made()).parts[NORTH].counts["frame_rate"] == (Count("22-35", 3),)


def test_reduced_ef_is_below_fifty() -> None:
    """40, 40 and 60: two of three."""
    parts = summary(made()).parts
    assert parts[CAMUS].reduced_ef == 0.6667
    assert parts[NORTH].reduced_ef is None


def test_spread_by_hand() -> None:
    """40, 40, 60: mean 46.67, squared deviations 44.44 twice and 177.78, so sd = sqrt(133.33);
    the 95th percentile lies nine tenths of the way from 40 to 60."""
    expected = Spread(
        n=3, missing=1, low=40.0, p5=40.0, median=40.0, mean=46.6667, sd=11.547, p95=58.0, high=60.0
    )
    assert spread(pd.Series([40.0, 60.0, np.nan, 40.0])) == expected
    assert summary(made()).parts[CAMUS].spreads["ef"] == expected


def test_spread_of_little() -> None:
    assert spread(pd.Series([np.nan, np.inf])) == Spread(n=0, missing=2)
    one = spread(pd.Series([5.0]))
    assert (one.median, one.sd, one.n) == (5.0, None, 1)


def test_readers_know_rate_and_size_better_decoding_knows_frames() -> None:
    """Clip 1: 50 Hz of the reader, not 25; clip 4: 40 Hz of the container. Clip 2: height 600 of
    the reader. Clip 3 was not decoded: its declared 90 frames at 50 Hz last 1.8 s; clip 4: 80 at
    40 Hz, 2 s."""
    values = quantities(made().manifest, made().decoded).head(4)
    assert values["fps"].tolist() == [50, 50, 50, 40]
    assert values["frames"].tolist() == [100, 90, 90, 80]
    assert values["height"].fillna(-1).tolist() == [480, 600, -1, 480]
    assert values["seconds"].tolist() == [2.0, 1.8, 1.8, 2.0]
    assert values["grey"].fillna(-1).tolist() == [10, 20, -1, 60]


def test_grey_level_is_of_decoded_clips_alone() -> None:
    """10, 20 and 60 of the three that were decoded; the fourth is not missing."""
    grey = summary(made()).parts[CAMUS].spreads["grey"]
    assert (grey.n, grey.missing, grey.median, grey.mean) == (3, 0, 20.0, 30.0)


def test_counts_keep_the_order_given_then_the_most_frequent() -> None:
    values = pd.Series(["z", "b", "a", "b", "x", "a", None])
    expected = [("x", 1), ("a", 2), ("b", 2), ("z", 1), (None, 1)]
    assert [(item.value, item.clips) for item in count(values, ["x"])] == expected


def test_many_values_are_cut_short_and_counted() -> None:
    """Eleven scanners once each: eight are shown."""
    rows = pd.concat([MANIFEST.tail(1)] * 11, ignore_index=True)
    rows["clip_id"] = [f"c{n}" for n in range(11)]
    rows["vendor"] = pd.Series([f"Maker {n:02d}" for n in range(11)], dtype="string")
    (part,) = summary(made(manifest=rows, findings=FINDINGS.head(0))).parts
    shown = top(part, "scanner")
    assert shown[0] == ("Maker 00", 1) and shown[-1] == ("3 others", 3) and len(shown) == 9


def test_patients_in_two_places_by_hand() -> None:
    """p2 is in camus' test split and at north, which has no splits; mrs-smith is at north alone."""
    (found,) = summary(made()).shared
    assert found == Shared(
        dataset="camus", split="test", other_dataset="north", other_split=None, patients=1
    )


def test_two_splits_of_one_data_set_are_a_leak_and_no_split_is_none() -> None:
    rows = pd.DataFrame([clip("a", n, "p", split=s) for n, s in enumerate(("train", "test", None))])
    rows = rows.reindex(columns=MANIFEST.columns).astype(MANIFEST.dtypes)
    (found,) = summary(made(manifest=rows)).shared
    assert (found.split, found.other_split, found.patients) == ("test", "train", 1)


def test_kinds_come_worst_and_most_frequent_first() -> None:
    found = [(kind.dataset, kind.kind, kind.count) for kind in summary(made()).kinds]
    assert found == [
        ("camus", "truncated_video", 2),
        ("lost", "missing_file", 1),
        ("camus", "odd_size", 1),
        ("north", "odd_size", 1),
        ("north", "label_in_name", 1),
    ]
    assert summary(made()).kinds[0].item == SCRIPT


@pytest.mark.parametrize(
    ("diagnosis", "verdict"),
    [
        (
            made(),
            "7 clips can be used; 3 files or rows are quarantined, 2 repaired, 1 noted: "
            "4 kinds of trouble.",
        ),
        (
            made(manifest=MANIFEST.head(1), findings=FINDINGS.head(1)),
            "1 clip can be used; 1 file or row is quarantined, 0 repaired, 0 noted: "
            "1 kind of trouble.",
        ),
        (made(findings=FINDINGS.head(0)), "All 7 clips can be used: nothing was wrong."),
        (nothing(), "There are no clips."),
    ],
)
def test_verdict_in_words(diagnosis, verdict: str) -> None:
    assert summary(diagnosis).verdict == verdict
    assert printed(diagnosis)[0] == verdict


def test_json_is_whole_and_has_no_nan() -> None:
    text = to_json(summary(made()), FINDINGS)
    record = json.loads(text, parse_constant=pytest.fail)
    assert record["findings"] == FINDINGS.astype(object).to_dict("records")
    north = record["datasets"][NORTH]
    assert north["reduced_ef"] is None and north["spreads"]["ef"]["mean"] is None
    assert north["counts"]["view"] == [{"value": None, "clips": 3}]
    assert record["shared_patients"][0]["other_split"] is None
    assert list(record)[:4] == ["synthetic", "verdict", "clips", "decoded"]


def test_order_of_clips_does_not_matter() -> None:
    turned = made(manifest=MANIFEST.iloc[::-1], decoded=made().decoded.iloc[::-1])
    assert to_json(summary(turned), FINDINGS) == to_json(summary(made()), FINDINGS)


def test_terminal_lines_are_short_and_whole() -> None:
    """No line over 100 columns, and no cell folded into a second line: three data sets, so three
    lines under the first table's head."""
    lines = printed(made(synthetic=True))
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("SYNTHETIC") and lines[2] == "Decoded 4 of 7 clips."
    start = lines.index("Data sets")
    assert [line.split()[0] for line in lines[start + 3 : start + 6]] == ["camus", "lost", "north"]
    assert lines[start + 6] == ""


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_folds_no_name_of_a_data_set(width: int) -> None:
    """Every line of a table that begins in its first column begins with a whole name."""
    names = {"camus": "a_hospital_with_long_name", "lost": "lost", "north": "north"}
    tables = made().manifest, made().findings, made().decoded
    manifest, findings = (table.replace({"dataset": names}) for table in tables[:2])
    lines = printed(made(manifest=manifest, findings=findings), width)
    begun = [line for line in lines if line.lstrip().startswith(("a_h", "lost", "nor"))]
    assert {line.split()[0] for line in begun} == set(names.values())
    assert not [line for line in lines if "hospital" in line and names["camus"] not in line]
    assert max(map(len, begun)) <= width


def test_each_reason_is_printed_with_its_count() -> None:
    """Of camus two videos are cut off, in frames 3 and 9, and one of another kind of trouble."""
    findings = FINDINGS.assign(kind=FINDINGS["kind"].replace("missing_file", "truncated_video"))
    lines = [" ".join(line.split()) for line in printed(made(findings=findings))]
    start = lines.index("Why quarantined")
    assert lines[start + 3 : start + 5] == [
        "truncated_video 2 The file ends in frame 3. (numbers or names vary)",
        "truncated_video 1 Listed, not there.",
    ]


def test_a_long_path_shows_its_end() -> None:
    item = "files/" + "p15/" * 20 + "95000000_0003.dcm"
    lines = printed(made(findings=FINDINGS.head(1).assign(item=item)))
    (line,) = (line for line in lines if "0003.dcm" in line)
    assert ".../p15/" in line and len(line) <= 100


def test_names_are_text_on_the_terminal() -> None:
    """Neither control characters nor markup act."""
    rows = FINDINGS.iloc[[1]]
    text = "\n".join(printed(made(findings=rows)))
    assert "\x1b" not in text and "\u202e" not in text
    assert "\\x1b[31mred[/bold][red]\\u202e.avi" in text
    assert COLOUR in to_json(summary(made(findings=rows)), rows).encode().decode("unicode_escape")


def test_visits_that_every_patient_numbers_alike_are_several_studies() -> None:
    rows = made().manifest.assign(study_id="1")
    parts = summary(replace(made(), manifest=rows)).parts
    assert [(part.patients, part.studies) for part in parts] == [(3, 3), (0, 0), (2, 2)]
