"""The code of an error crosses the wire in the text of its reply."""

from echofm_core.error_reply import code_of, error_words


def test_a_code_is_read_as_it_was_written() -> None:
    for code in (1, 28, 143):
        assert (
            code_of(error_words(code, "0123abcd", "DivergedError: error 17, reference x")) == code
        )


def test_what_others_say_has_no_code() -> None:
    for words in (
        "",
        "Client app crashed: error 28, reference x",
        "error 28",
        "error 1234, reference",
    ):
        assert code_of(words) is None
