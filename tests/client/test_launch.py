"""A hospital's settings file, as the client reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.launch import command, environment, load_site
from echofm_core.runtime.errors import PlanError

GOOD = 'name = "north"\nserver = "fl:443"\nmanifest = "m"\nstore = "s"\nstate = "t"\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("thread = 4", "unknown key `thread`, did you mean `threads`"),
        ('Device = "cpu"', "unknown key `Device`, did you mean `device`"),
        ("threads = 0", "`threads`: input should be greater than or equal to 1, got 0"),
    ],
)
def test_a_wrong_key_is_named_with_what_was_meant(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "site.toml").write_text(GOOD + line)
    with pytest.raises(PlanError) as caught:
        load_site(tmp_path)
    assert said in str(caught.value) and "site.toml is not valid" in str(caught.value)


def test_settings_may_begin_with_the_mark_of_an_editor(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(GOOD, encoding="utf-8-sig")
    assert load_site(tmp_path).name == "north"


def test_a_word_that_is_no_device_is_refused_before_a_run(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(f'{GOOD}device = "gpu"\n')
    with pytest.raises(PlanError, match="no device 'gpu'"):
        load_site(tmp_path)


def test_a_node_launches_nothing_by_itself_and_listens_on_loopback(tmp_path: Path) -> None:
    """Flower's default loads whatever its server sends."""
    (tmp_path / "site.toml").write_text(GOOD)
    words = command(tmp_path, 9123)
    (node,) = (at for at, word in enumerate(words) if word.endswith("flower-supernode"))
    launcher, options = words[:node], iter(words[node + 1 :])
    given = dict(zip(options, options, strict=True))
    secret = str(tmp_path / "launcher.secret")
    assert launcher[1:] == ["-P", "-m", "client.launcher", "127.0.0.1:9123", secret]
    assert given["--isolation"] == "process" and given["--superexec-auth-secret-file"] == secret
    assert (given["--host"], given["--port"]) == ("127.0.0.1", "9123")


def test_a_node_speaks_to_itself_by_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    assert environment(tmp_path)["NO_PROXY"] == "intranet,127.0.0.1"
    assert "127.0.0.1" in environment(tmp_path)["no_proxy"].split(",")
