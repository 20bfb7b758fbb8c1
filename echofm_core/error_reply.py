"""What a site's error reply says first: the error's code, so that the server need not read words.

A site writes it (``client/answers.py``), the server reads it (``server/wire.py``).
"""

import re

#: Digits of the longest exit code.
_CODE = re.compile(r"error (\d{1,3}), reference ")


def error_words(code: int, reference: str, sentence: str) -> str:
    """The text of an error reply.

    Args:
        code: Exit code of the error.
        reference: What the site's own log has too.
        sentence: What may leave the site.
    """
    return f"error {code}, reference {reference}: {sentence}"


def code_of(words: str) -> int | None:
    """The code in the text of an error reply; None where it is another's, such as Flower's."""
    found = _CODE.match(words)
    return int(found[1]) if found else None
