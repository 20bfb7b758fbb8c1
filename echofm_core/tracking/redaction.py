"""Text of other programs without the credentials that they put into it."""

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit, urlunsplit

_HIDDEN = "***"
#: Words in the name of what holds a secret: an environment variable, or a part of a URL.
_NAMES = "TOKEN|PASSWORD|SECRET|CREDENTIAL|ACCESS_KEY"
_SECRET = re.compile(_NAMES, re.IGNORECASE)
#: What stands between "//" and "@" of a URL: up to the last "@" before the path.
_USERINFO = re.compile(r"(?<=://)[^/\s'\"]*@")
_QUERY = re.compile(rf"([?&][^=&\s]*(?:{_NAMES})[^=&\s]*=)[^&\s'\"]*", re.IGNORECASE)
#: A shorter value might be a part of common words, which would be blotted out everywhere.
_LEAST = 4


def redacted(text: str) -> str:
    """Replace the user part and secret options of every URL, and whatever secret we know."""
    text = _QUERY.sub(rf"\1{_HIDDEN}", _USERINFO.sub(f"{_HIDDEN}@", text))
    for value in sorted(_secrets(), key=len, reverse=True):
        if len(value) >= _LEAST:
            text = text.replace(value, _HIDDEN)
    return text


def _secrets() -> Iterator[str]:
    """Values of environment variables with a secret's name, and passwords in those with a URL."""
    for name, value in os.environ.items():
        if _SECRET.search(name):
            yield value
        elif "://" in value:
            yield split_credentials(value)[2]


def split_credentials(uri: str) -> tuple[str, str, str]:
    """A URI without its user part, the user's name, and the password; "" where there is none."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # not a URI
        return uri, "", ""
    userinfo, found, host = parts.netloc.rpartition("@")
    if not found:
        return uri, "", ""
    user, _, password = userinfo.partition(":")
    return urlunsplit(parts._replace(netloc=host)), unquote(user), unquote(password)
