"""Whose a study's folder is, and where each training of it lies.

``study.json`` says what the study is. ``SEED/arms/NAME-KEY`` holds a training; its key names all
that decides it, so that a folder may be found again by a study with more methods or seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.plan.document import Plan
from echofm_core.run_claim import LEFT_OVER, PLAN, STUDY
from echofm_core.runtime.errors import ResumeError
from echofm_core.runtime.files import check_place, is_partial, write_whole

#: What is written last into the folder of a finished training.
RESULT = "result.json"
#: In the folder of a training that diverged: why it ended. It is not tried again.
DIVERGED = "diverged.txt"
#: Digits of a key in the name of a folder.
SHORT = 8


def look_study(folder: Path, plan: Plan, *, resume: bool) -> None:
    """Refuse a folder that holds something else; nothing is written.

    A study that is gone on with may have other methods, seeds, protocols and ways to compare:
    what is trained already is found by its key.

    Raises:
        ResumeError: It holds a run, or another plan's study, or one and ``resume`` is not given.
        OutputError: It cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise ResumeError(f"{folder} is a file; choose another --out.")
    check_place(folder, folder=True)
    if not (folder / STUDY).exists():
        names = {item.name for item in folder.iterdir()} if folder.exists() else set()
        if PLAN in names:
            raise ResumeError(f"{folder} holds a run, and no study; choose another --out.")
        if {name for name in names if not is_partial(name)} - LEFT_OVER:
            raise ResumeError(f"{folder} is not empty and holds no study; choose another --out.")
        return
    kept, ours = read_study(folder).get("trains", ""), trains(plan)
    if kept != ours:
        raise ResumeError(
            f"{folder} holds a study of another plan (hash {str(kept)[:12]}, not {ours[:12]}); go "
            "on with the plan that it was begun with, or choose another --out."
        )
    begun = (f"{place}seed-*/arms/*/journal/*.json" for place in ("", "*/"))
    if not resume and any(any(folder.glob(pattern)) for pattern in begun):
        raise ResumeError(
            f"{folder} already holds a study; continue it with --resume, or choose another --out."
        )


def claim_study(folder: Path, plan: Plan, words: Mapping[str, object]) -> None:
    """Make the folder ours: the plan, and ``study.json`` with what the study is, in ``words``."""
    text = json.dumps({"trains": trains(plan), **words}, indent=1)
    write_whole(folder / STUDY, text.encode())
    write_whole(folder / PLAN, plan.to_toml().encode())


def read_study(folder: Path) -> dict[str, Any]:
    """``study.json``.

    Raises:
        ResumeError: It is damaged.
    """
    try:
        return dict(json.loads((folder / STUDY).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ResumeError(
            f"{folder / STUDY} cannot be read ({type(error).__name__}); choose another --out."
        ) from None


def trains(plan: Plan) -> str:
    """Hash of all in a plan that decides a training: how models are compared does not."""
    return plan.model_copy(update={"evaluation": EvaluationConfig()}).digest()


def place_of(seed: Path, name: str, key: str) -> Path:
    """Folder of a training, in that of its seed; whatever it was called when it began."""
    arms = seed / "arms"
    found = next(iter(sorted(arms.glob(f"*-{key[:SHORT]}"))), None)
    return found or arms / f"{name.replace(':', '-')}-{key[:SHORT]}"


def finished(place: Path) -> bool:
    """Is nothing of a training left to do?"""
    return (place / RESULT).exists()
