"""The folder that a governance office files: a run's model and how it came about, signed.

Symptom: a run folder is handed on as it is, with checkpoints, paths of a machine or predictions of
patients in it; or a part of it, which says nothing of what left whom. Reason: a run folder is a
place of work. Protocol: the folder is made of a list of files and of no other; it is filled and
signed under a hidden name, and takes its own by one rename. What can still go wrong: a file that is
on the list says more than it should: the card and the report are made of what sites let leave.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from echofm_core.run_claim import PLAN, held
from echofm_core.runtime import array_files
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, ReleaseError
from echofm_core.runtime.files import check_place, whole_folder, write_whole, writing
from server.release.bill import bill_of_materials
from server.release.page import FILES, page
from server.release.record import make_record
from server.release.signature import PUBLIC, sign, signing_key, verify
from server.release.what_left import EVALUATION

MODEL, CARD, REPORT = "model/model.safetensors", "model/README.md", "report.html"
RECORD, PAGE, BILL = "what-left.json", "RELEASE.md", "sbom.cdx.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseOptions:
    """How a release is made.

    Attributes:
        key: Private key that signs, elliptic-curve PEM.
        licences: Name -> licence, as of :func:`server.release.record.make_record`.
        unfinished: Make it of a run that is not finished, too; its page says so.
    """

    key: Path
    licences: Mapping[str, str]
    unfinished: bool = False


def release(run: Path, out: Path, options: ReleaseOptions) -> str:
    """Make a signed folder of a run.

    Args:
        run: Run folder.
        out: Folder to make; nothing may be there yet.

    Returns:
        Fingerprint of the key.

    Raises:
        ReleaseError: The run is not finished, or its files do not belong together; or as of
            :func:`server.release.signature.signing_key`.
        ResumeError: A process is training there.
        PlanError: The plan of the run is missing or damaged.
        OutputError: The folder cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ReleaseError(f"{out} is there already, and a release is not changed; choose another.")
    check_place(out, folder=True)
    if not (run / PLAN).is_file():
        raise ReleaseError(f"{run} is no run folder: it has no {PLAN}.")
    with held(run):
        plan = load_plan(run / PLAN)
        faults = list(unfinished(run, plan))
        if faults and not options.unfinished:
            raise ReleaseError(
                f"{run} cannot be released: {'; '.join(faults)}; finish the run with --resume, or "
                "give --unfinished, and the page says so."
            )
        public = signing_key(options.key)
        with writing(out), whole_folder(out) as partial:
            _fill(partial, run, plan, faults, options.licences)
            write_whole(partial / PUBLIC, public.encode())
            sign(partial, options.key)
            return verify(partial)


def unfinished(run: Path, plan: Plan) -> Iterator[str]:
    """What is missing from a finished run, a clause each.

    Raises:
        ReleaseError: The weights are not those that the run's summary is of.
    """
    for name in (MODEL, CARD, REPORT, "summary.json"):
        if not (run / name).is_file():
            yield f"it has no {name}"
    if plan.finetune.rounds and not _read(run / EVALUATION).get("sites"):
        yield "its model was tested at no site"
    summary = _read(run / "summary.json")
    if not (run / MODEL).is_file() or not summary:
        return
    try:
        name = digest(array_files.load(run / MODEL))
    except CheckpointError as error:
        raise ReleaseError(str(error)) from None
    if (summary.get("digest"), summary.get("plan_hash")) != (name, plan.digest()):
        raise ReleaseError(
            f"the weights in {run / MODEL} (digest {name[:12]}) and the plan beside them are not "
            f"those of the run's summary ({str(summary.get('digest'))[:12]}): a file was changed "
            "or exchanged."
        )


def _fill(
    folder: Path, run: Path, plan: Plan, faults: list[str], licences: Mapping[str, str]
) -> None:
    """Write all but key and signature."""
    summary = _read(run / "summary.json")
    report = "" if (run / REPORT).is_file() else "the run has none"
    if "predictions" not in summary.get("absent", {}) and not report:
        report = "that of this run shows single patients, as all sites lay on one machine"
    copied = [name for name in (MODEL, CARD) if (run / name).is_file()] + [REPORT] * (not report)
    for name in copied:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(run / name, folder / name)
    record = make_record(run, plan, summary.get("digest", ""), faults, licences)
    write_whole(folder / PLAN, plan.to_shared_toml().encode())
    write_whole(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())
    write_whole(folder / BILL, bill_of_materials())
    made = [name for name in FILES if name in copied or name not in (MODEL, CARD, REPORT)]
    write_whole(folder / PAGE, page(record, made, report).encode())


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
