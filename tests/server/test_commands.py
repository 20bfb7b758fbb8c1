"""`echofm server run` refuses what cannot work before it asks the SuperLink for anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.runtime.errors import EchoFMError, PlanError, ResumeError
from server.commands import propose, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two admitted sites, of which no SuperLink runs: to submit would end otherwise."""
    for name in ("north", "south"):
        (tmp_path / "fed" / "sites").mkdir(parents=True, exist_ok=True)
        (tmp_path / "fed" / "sites" / f"{name}.pub").write_text("")
    return tmp_path / "fed"


@pytest.mark.parametrize(
    ("text", "taken", "kind", "said"),
    [
        ("[federation]\nmin_sites = 3\n", False, PlanError, r"is 3, but .* 2 sites \(north, south"),
        ('[protocol]\nunseen = ["north"]\n', False, PlanError, "north, but .* every admitted site"),
        ("[federation]\nmin_site = 2\n", False, PlanError, "did you mean `min_sites`"),
        ("[federation]\nmin_sites = 2\n", True, ResumeError, "not empty and holds no run"),
    ],
)
def test_what_cannot_work_is_refused(
    folder: Path, text: str, taken: bool, kind: type[EchoFMError], said: str
) -> None:
    plan, out = folder.parent / "plan.toml", folder.parent / "run"
    plan.write_text(text)
    if taken:
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    with pytest.raises(kind, match=said):
        run(folder, plan, out)
    assert out.exists() == taken
    assert not (folder / "runs").exists()


def test_a_plan_with_sites_that_shall_not_train_is_not_proposed(folder: Path) -> None:
    plan = folder.parent / "plan.toml"
    plan.write_text('[protocol]\nunseen = ["north"]\n')
    with pytest.raises(PlanError, match="unseen names north"):
        propose(folder, plan)
    assert not (folder / "plans").exists()
