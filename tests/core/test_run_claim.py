"""A folder belongs to a run from its first finished round on; before that nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan, plan_from_mapping
from echofm_core.run_claim import claim, held, look
from echofm_core.runtime.errors import ResumeError

PLAN = plan_from_mapping({"name": "a"}, "test")
OTHER = plan_from_mapping({"name": "b"}, "test")


def finish_round(run: Path, place: str = "journal") -> None:
    (run / place).mkdir(parents=True)
    (run / place / "pretrain-0001.json").write_text("{}")


def test_looking_writes_nothing(tmp_path: Path) -> None:
    look(tmp_path / "run", PLAN, resume=False)
    assert not (tmp_path / "run").exists()


def test_what_a_failed_start_leaves_claims_nothing(tmp_path: Path) -> None:
    """Decoded clips; and of one that failed later its plan and a journal without a round."""
    run = tmp_path / "run"
    (run / "cache" / "stores").mkdir(parents=True)
    look(run, PLAN, resume=False)
    claim(run, PLAN, resume=False)
    (run / "journal").mkdir()
    (run / "journal" / ".pretrain-0001.json.77").write_text("torn")
    claim(run, OTHER, resume=False, begun={"phase": "finetune"})
    assert load_plan(run / "plan.toml").name == "b"
    claim(run, PLAN, resume=True)
    assert not (run / "start.json").exists(), "what another start was begun with is gone"


def test_a_start_that_was_killed_while_it_claimed_claims_nothing(tmp_path: Path) -> None:
    """Before its plan had its name: what it was begun with is there, and a torn plan."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "start.json").write_text("{}")
    (run / ".plan.toml.77").write_text("torn")
    look(run, PLAN, resume=False)
    (run / "notes.txt").write_text("mine")
    with pytest.raises(ResumeError, match="not empty and holds no run"):
        look(run, PLAN, resume=False)


@pytest.mark.parametrize("place", ["journal", "baselines/local-x/journal"])
def test_a_finished_round_is_kept(tmp_path: Path, place: str) -> None:
    run = tmp_path / "run"
    claim(run, PLAN, resume=False)
    finish_round(run, place)
    with pytest.raises(ResumeError, match="already holds a run; continue it with --resume"):
        look(run, PLAN, resume=False)
    look(run, PLAN, resume=True)
    for resume in (False, True):
        with pytest.raises(ResumeError, match=rf"another plan \(hash {PLAN.digest()[:12]}, not"):
            claim(run, OTHER, resume=resume)
    assert load_plan(run / "plan.toml").name == "a"


def test_a_run_goes_on_with_what_it_was_begun_with(tmp_path: Path) -> None:
    run, begun = tmp_path / "run", {"phase": "finetune", "start": "abc"}
    claim(run, PLAN, resume=False, begun=begun)
    finish_round(run)
    look(run, PLAN, resume=True, begun=begun)
    with pytest.raises(ResumeError, match=r"another phase \(finetune, not a federation\)"):
        look(run, PLAN, resume=True)
    with pytest.raises(ResumeError, match=r"--start from \(digest abc, not none\)"):
        look(run, PLAN, resume=True, begun={"phase": "finetune", "start": ""})


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for place, said in ((tmp_path, "holds no run"), (tmp_path / "notes.txt", "is a file")):
        with pytest.raises(ResumeError, match=said):
            look(place, Plan(), resume=True)


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = (
        "import sys; from pathlib import Path; from echofm_core.run_claim import held\n"
        "with held(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", words, str(run)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == "in\n"
        with pytest.raises(ResumeError, match="another process is training in"), held(run):
            pass
        other.kill()
        other.wait()
    with held(run):
        pass
