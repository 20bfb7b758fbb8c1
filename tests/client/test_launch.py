"""A hospital's settings file, as the client reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.launch import load_site
from echofm_core.runtime.errors import EnvironmentClashError, PlanError

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


def test_a_word_that_is_no_device_is_refused_before_a_run(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(f'{GOOD}device = "gpu"\n')
    with pytest.raises(EnvironmentClashError, match="no device 'gpu'"):
        load_site(tmp_path)
