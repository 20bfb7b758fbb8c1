"""Whose a run folder is: looked at before anything is read, claimed when training begins.

A start that fails before training leaves no claim, only decoded clips, which the next start uses;
nor does a run of which no round was finished, as there is nothing to lose.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from echofm_core.plan.document import Plan
from echofm_core.plan.federation import check_quorum
from echofm_core.plan.load import load_plan
from echofm_core.plan.own_rule import pin_rule
from echofm_core.runtime.errors import ResumeError
from echofm_core.runtime.file_lock import folder_lock
from echofm_core.runtime.files import check_place, is_partial, write_whole

PLAN = "plan.toml"
#: What makes a folder that of a study: what the study is.
STUDY = "study.json"
#: What a run was begun with beside its plan.
BEGUN = "start.json"
#: Sign of life of the process that trains in the folder, and what it says of itself meanwhile.
HEARTBEAT, LIVE = "heartbeat", "live.json"
#: What a start may leave that claims nothing.
LEFT_OVER = {
    *("cache", "journal", "checkpoints", "scratch", ".coordinator.lock"),
    *(BEGUN, HEARTBEAT, LIVE),
}


def load_runnable(path: Path) -> Plan:
    """A plan file as it shall be run: with the digests of its own rule and of what it starts from.

    Raises:
        PlanError: As of :func:`~echofm_core.plan.load.load_plan`, or it names other weights, or
            another rule or none, or too small a quorum for its rule.
        CheckpointError: ``machine.start`` holds no weights for this encoder.
    """
    plan = pin_rule(load_plan(path))
    check_quorum(plan.federation)
    if not plan.machine.start:
        return plan
    from echofm_core.models.saved import pin_start

    return pin_start(plan)


def look(run: Path, plan: Plan, *, resume: bool, begun: Mapping[str, str] | None = None) -> None:
    """Refuse a folder that holds something else; nothing is written.

    Args:
        run, plan: The folder, and what shall be trained there.
        resume: Go on with what is there.
        begun: What else the run begins with, by name; a run that goes on has begun with the same.

    Raises:
        ResumeError: It holds another run, or one and ``resume`` was not asked for, or no run.
        OutputError: It cannot be written to.
    """
    if run.exists() and not run.is_dir():
        raise ResumeError(f"{run} is a file; choose another --out.")
    check_place(run, folder=True)
    if (run / STUDY).exists():
        raise ResumeError(
            f"{run} holds a study; go on with it by its own plan and options, or choose another "
            "--out."
        )
    kept = run / PLAN
    if not kept.exists():
        names = {item.name for item in run.iterdir()} if run.exists() else set()
        if {name for name in names if not is_partial(name)} - LEFT_OVER:
            raise ResumeError(f"{run} is not empty and holds no run; choose another --out.")
        return
    if not has_rounds(run):
        return
    plans = load_plan(kept), plan
    if others := _differences((_begun_with(run / BEGUN), begun or {}), plans):
        raise ResumeError(
            f"{run} holds a run with {' and '.join(others)}; go on with what it was begun with, or "
            "choose another --out."
        )
    if not resume:
        raise ResumeError(
            f"{run} already holds a run; continue it with --resume, or choose another --out."
        )


def refuse_run(out: Path) -> None:
    """Refuse a folder whose own results would be written over.

    Raises:
        ResumeError: It holds a run.
    """
    if (out / PLAN).exists():
        raise ResumeError(
            f"{out} holds a run, whose scores would be written over; choose another --out."
        )


def claim(run: Path, plan: Plan, *, resume: bool, begun: Mapping[str, str] | None = None) -> None:
    """Make the folder ours, or go on with it; arguments and errors as of :func:`look`."""
    look(run, plan, resume=resume, begun=begun)
    if has_rounds(run):
        return
    (run / BEGUN).unlink(missing_ok=True)
    if begun:
        write_whole(run / BEGUN, json.dumps(dict(begun)).encode())
    write_whole(run / PLAN, plan.to_toml().encode())


def has_rounds(run: Path) -> bool:
    """Is a round finished, of the run's own model or of one that it is compared with?"""
    paths = [*run.glob("journal/*.json"), *run.glob("baselines/*/journal/*.json")]
    return any(path.name[0] != "." for path in paths)


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Hold the folder against other processes for a block; a killed process lets go of it.

    Raises:
        ResumeError: Another process trains there.
    """
    refusal = ResumeError(
        f"another process is training in {run}; wait until it has ended, or choose another --out."
    )
    with folder_lock(run, refusal):
        yield


def _differences(begun: Sequence[Mapping[str, object]], plans: Sequence[Plan]) -> list[str]:
    """How a kept run, the first of each pair, and ours were begun otherwise, in words."""
    found = []
    phases = [str(words.get("phase") or "a federation") for words in begun]
    starts = [str(words.get("start") or "none") for words in begun]
    hashes = [plan.digest()[:12] for plan in plans]
    rules = [plan.federation.rule_sha256[:12] or "none" for plan in plans]
    if phases[0] != phases[1]:
        found.append(f"another phase ({phases[0]}, not {phases[1]})")
    elif rules[0] != rules[1]:
        found.append(f"another rule of its own (SHA-256 {rules[0]}, not {rules[1]})")
    elif hashes[0] != hashes[1]:  # of another phase it always is
        found.append(f"another plan (hash {hashes[0]}, not {hashes[1]})")
    if starts[0] != starts[1]:
        digests = f"digest {starts[0][:12]}, not {starts[1][:12]}"
        found.append(f"other weights to --start from ({digests})")
    return found


def _begun_with(path: Path) -> dict[str, object]:
    """What a run was begun with; empty where that is its plan alone."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise ResumeError(
            f"{path} cannot be read ({type(error).__name__}); choose another --out."
        ) from None
