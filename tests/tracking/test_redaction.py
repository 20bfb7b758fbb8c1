from __future__ import annotations

import pytest

from echofm_core.tracking.redaction import redacted, split_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no way to http://anna:p%40ss@host:5000/api", "no way to http://***@host:5000/api"),
        ("(postgresql://u:a@b@host/db)", "(postgresql://***@host/db)"),
        ("'https://token@host'", "'https://***@host'"),
        ("mysql://host/db?user=u&password=hush&x=1", "mysql://host/db?user=u&password=***&x=1"),
        ("host:5000/a@b, then http://host/c@d", "host:5000/a@b, then http://host/c@d"),
    ],
)
def test_credentials_in_urls_are_hidden(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_known_secrets_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc-1234")
    monkeypatch.setenv("DATABASE", "postgresql://anna:p%40ssw@host/db")
    monkeypatch.setenv("OTHER_PASSWORD", "a")  # too short to look for
    assert redacted("Bearer abc-1234 for anna, p@ssw") == "Bearer *** for anna, ***"


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("http://anna:p%40ss@host:5000/a", ("http://host:5000/a", "anna", "p@ss")),
        ("http://host:5000", ("http://host:5000", "", "")),
        ("sqlite:////a/b@c.db", ("sqlite:////a/b@c.db", "", "")),
        ("http://[::1", ("http://[::1", "", "")),
    ],
)
def test_a_uri_is_split_from_its_user(uri: str, parts: tuple[str, str, str]) -> None:
    assert split_credentials(uri) == parts
