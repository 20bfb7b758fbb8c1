"""Reading a page as a browser and as a person would."""

import base64
import hashlib
import re
from html.parser import HTMLParser


def words_of(html: str) -> str:
    """Visible text, tags, style and script dropped, blanks joined."""
    text = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


class Addresses(HTMLParser):
    """Collects every address a browser would load or follow, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def assert_self_contained(html: str) -> None:
    """Every tag closes, nothing is loaded from outside, and only the page's own script may run."""
    parser = Addresses()
    parser.feed(html)
    assert not parser.open
    assert all(
        address.startswith(("data:image/", "data:text/csv;", "#")) for address in parser.found
    )
    assert "@import" not in html and "url(" not in html
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = html[html.index("default-src") : html.index("<title>")]
    assert "default-src 'none'" in policy.replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}'" in policy.replace("&#39;", "'")
