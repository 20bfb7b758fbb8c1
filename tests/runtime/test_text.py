from echofm_core.runtime.text import listed, many


def test_one_is_not_written_as_several() -> None:
    assert many(1, "clip") == "1 clip"
    assert [many(count, "clip") for count in (0, 2, 3204)] == ["0 clips", "2 clips", "3,204 clips"]
    assert many(1, "study is", "studies are") == "1 study is"
    assert many(2, "study is", "studies are") == "2 studies are"


def test_a_list_ends_with_and() -> None:
    lists = ([], ["a"], ["a", "b"], iter(["a", "b", "c"]))
    assert [listed(words) for words in lists] == ["", "a", "a and b", "a, b and c"]
