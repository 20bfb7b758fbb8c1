"""The rule of docs/how-to/own-rule.md, word for word, in a federation of real sites."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from echofm_core.contract import Phase
from echofm_core.plan.document import Plan
from echofm_core.run_claim import load_runnable, look
from echofm_core.runtime.errors import PlanError, ResumeError
from server.ending import FederationResult
from server.events import Event, ignore
from server.handover import first_weights
from server.journal import Journal
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import small_plan, with_states

PAGE = (Path(__file__).parents[2] / "docs/how-to/own-rule.md").read_text(encoding="utf-8")
CODE, TABLE = (
    re.search(rf"```{kind}\n(.*?)```", PAGE, re.S).group(1)  # type: ignore[union-attr]
    for kind in ("python", "toml")
)


def plan_file(folder: Path, code: str = CODE) -> Path:
    """A small plan with the page's table, and the page's file beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "gentle_start.py").write_text(code)
    plan = small_plan(pretrain={"rounds": 0}).to_toml()
    head, start, tail = plan.partition("[federation]\n")
    tail = re.sub(r'^aggregation = "fedavg"\n', "", tail, flags=re.M)
    path = folder / "plan.toml"
    path.write_text(head + TABLE + tail)
    assert start and 'aggregation = "custom"' in path.read_text()
    return path


def run(
    sites: list[SiteSettings], plan: Plan, folder: Path, workers: int = 1, **options: object
) -> FederationResult:
    with Engine(workers) as engine:
        grid = engine.grid(with_states(sites, folder / "states"))
        return run_federation(grid, plan, folder / "run", **options)  # type: ignore[arg-type]


def test_the_page_s_file_is_about_thirty_lines() -> None:
    assert len(CODE.splitlines()) <= 36


def test_its_first_round_moves_the_model_by_a_quarter_of_fedavg_s(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """And the second by half of the mean change, so that it ends elsewhere."""
    own, average = load_runnable(plan_file(tmp_path / "own")), small_plan(pretrain={"rounds": 0})
    ends = [run(built_sites, it, tmp_path / it.federation.aggregation) for it in (own, average)]
    assert ends[0].digest != ends[1].digest
    stage = own.finetune.stages()[0]
    journals = [Journal(tmp_path / it.federation.aggregation / "run", it.digest())
                for it in (own, average)]  # fmt: skip
    start = first_weights(average, Phase.FINETUNE, stage, journals[1], {})
    quarter, whole = (journal.weights(Phase.FINETUNE, 1) for journal in journals)
    assert any((whole[name] != start[name]).any() for name in start)
    for name, array in start.items():
        expected = array + 0.25 * (whole[name] - array)
        np.testing.assert_allclose(quarter[name], expected, atol=1e-6)


def test_killed_and_resumed_it_gives_the_same_bits_and_another_file_is_refused(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    path = plan_file(tmp_path / "own")
    plan = load_runnable(path)
    whole = run(built_sites, plan, tmp_path / "whole")

    def stop(event: Event) -> None:
        if event.round == 1 and event.round_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(built_sites, plan, tmp_path / "killed", on_event=stop)
    kept = tmp_path / "killed" / "run" / "plan.toml"
    again = run(built_sites, load_runnable(kept), tmp_path / "killed", resume=True, on_event=ignore)
    assert again.digest == whole.digest
    (tmp_path / "own" / "gentle_start.py").write_text(CODE + "# changed\n")
    with pytest.raises(ResumeError, match=r"another rule of its own \(SHA-256 \w{12}, not \w{12}"):
        look(kept.parent, load_runnable(path), resume=True)
    with pytest.raises(PlanError, match="restore the file"):
        load_runnable(kept)


def test_a_site_never_imports_it_and_is_sent_its_name_and_hash(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """The file notes each process that runs it: of three, it is the coordinator's alone."""
    note = "import os, pathlib\nwith pathlib.Path(__file__).with_name('ran').open('a') as file:\n"
    code = CODE + f"\n\n{note}    print(os.getpid(), file=file)\n"
    plan = load_runnable(plan_file(tmp_path / "own", code))
    run(built_sites, plan, tmp_path, workers=2)
    assert (tmp_path / "own" / "ran").read_text().split() == [str(os.getpid())]
    sent = plan.to_json()
    assert '"rule":"gentle_start.py"' in sent and plan.federation.rule_sha256 in sent
    assert str(tmp_path) not in sent and "GentleStart" not in sent


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("self.done += 1; 1 / 0", r"failed in line \d+, in start \(ZeroDivisionError"),
        ("import sys; sys.exit(0)", r"failed in line \d+, in start \(SystemExit: 0\)"),
        ("return None", r"start\(\) of the plan's own rule gives NoneType"),
    ],
)
def test_one_that_fails_ends_the_run_with_one_sentence(
    line: str, sentence: str, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    plan = load_runnable(plan_file(tmp_path / "own", CODE.replace("self.done += 1", line)))
    with pytest.raises(PlanError, match=sentence):
        run(built_sites, plan, tmp_path)


def test_a_state_that_cannot_be_kept_ends_the_run_with_one_sentence(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    code = CODE.replace("np.array([self.done], np.float32)", "[self.done]")
    with pytest.raises(PlanError, match=r"state\(\) of the plan's own rule gives rounds as list"):
        run(built_sites, load_runnable(plan_file(tmp_path / "own", code)), tmp_path)
