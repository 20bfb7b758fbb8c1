"""Reasons of findings, counted by hand."""

from echofm_core.data.reasons import SHOWN, Reason, merged, reason_table

GONE, CUT = "Listed, not there.", "It is cut off."


def test_each_reason_has_its_count_the_most_frequent_first() -> None:
    found = [("missing", CUT), ("missing", GONE), ("still", "One frame."), ("missing", GONE)]
    table = reason_table([(kind, Reason(text)) for kind, text in found], "in f.csv")
    assert table.rows == (
        ("missing", "2", GONE),
        ("missing", "1", CUT),
        ("still", "1", "One frame."),
    )


def test_sentences_that_differ_in_numbers_or_names_are_one_reason() -> None:
    """Sizes and hashed names are of the file; three and two frames of words are two reasons."""
    sizes = ["It is 1024 x 768.", "It is 640 x 480.", "It is that of north-5f3a.", "Cut."]
    sizes += ["It is that of north-77ab.", "It is that of south-01cd."]
    found = [(each.count, each.sentence) for each in merged(map(Reason, sizes))]
    assert found == [
        (3, "It is that of north-5f3a. (numbers or names vary)"),
        (2, "It is 1024 x 768. (numbers or names vary)"),
        (1, "Cut."),
    ]


def test_equal_sentences_with_numbers_do_not_vary() -> None:
    (found,) = merged([Reason("It is 2 x 2.", 3), Reason("It is 2 x 2.", 4)])
    assert (found.count, found.varies) == (7, False)


def test_many_reasons_of_a_kind_are_cut_short_and_counted() -> None:
    """Seven reasons, found 9, 8, ..., 3 times: of five lines the last is for 5 + 4 + 3."""
    found = [("kind", Reason(f"Reason {letter}.", 9 - n)) for n, letter in enumerate("abcdefg")]
    rows = reason_table(found, "in f.csv").rows
    assert len(rows) == SHOWN == 5
    assert rows[3:] == (("kind", "6", "Reason d."), ("kind", "12", "3 other reasons, in f.csv"))


def test_as_many_reasons_as_lines_are_all_shown() -> None:
    found = [("kind", Reason(f"Reason {letter}.")) for letter in "abcde"]
    assert [row[2] for row in reason_table(found, "").rows] == [each.text for _, each in found]


def test_reasons_are_text_on_the_terminal() -> None:
    ((kind, _, sentence),) = reason_table([("a\x1b", Reason("b\x1b[31m"))], "").rows
    assert (kind, sentence) == ("a\\x1b", "b\\x1b[31m")
