"""The data of a run: what a site had at its first message, until the run's end.

Symptom: a clip more, or a patient in another split, in the middle of a run: the site reports more
clips than it described and is refused until the end, or trains on those whom it tests. Reason: the
manifest is read anew for each message, and hospitals index at night. Protocol: the rows of the
run's first message lie in its folder, with labels and splits as they were; later messages use
these, without patients who withdrew and clips that are gone. What changed is counted, said in log
and audit, and joins the next run. Until the run has trained here, each description begins anew,
and so does another manifest.
What can still go wrong: frames that were decoded anew under the same clip ids are not seen.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from client.site import Site
from client.withdrawn import Withdrawn
from echofm_core.contract import Action, Instruction
from echofm_core.data.manifest import completed
from echofm_core.data.patients import patient_keys
from echofm_core.data.training_record import RECORD
from echofm_core.runtime.errors import StoreError, refusing
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.text import many
from echofm_core.tasks import TASKS

#: Name of the file in the run's state folder.
FILE = "data.parquet"
#: Column of the file: the clip was in the store.
STORED = "stored"
#: Attributes of the file: ``policy.min_patients`` of then, and the place of the manifest.
LEAST, SOURCE = "min_patients", "manifest"
#: What is named where it changes, beside the patient.
_DECIDE = ("split", *dict.fromkeys(["view", *(spec.column for spec in TASKS.values())]))


@dataclass(frozen=True, slots=True)
class Changes:
    """How many clips of a run are not as they were at its first message."""

    changed: int = 0
    gone: int = 0
    new: int = 0

    def __str__(self) -> str:
        """In words; empty where there is no change."""
        if not (self.changed or self.gone or self.new):
            return ""
        return (
            f"since the run's first message {many(self.changed, 'clip')} changed patient, split, "
            f"view or label, {many(self.gone, 'is', 'are')} gone and {many(self.new, 'is', 'are')} "
            "new; the run goes on with the data of then, without those that are gone"
        )


def data_of_run(
    site: Site, folder: Path, asked: Instruction, withdrawn: Withdrawn, source: str
) -> tuple[Site, Changes]:
    """A site with the data of a run, and what has changed since its first message.

    Args:
        site: As it is now.
        folder: Of the run, in the state folder.
        asked: The message.
        withdrawn: Patients who are left out.
        source: Place of the site's manifest.

    Raises:
        StoreError: The file is damaged.
        PolicyError, DataRootError: As of :meth:`Withdrawn.without`.
    """
    site = replace(site, manifest=withdrawn.without(site.manifest))
    path, untrained = folder / FILE, not (folder / RECORD).exists()
    if not path.exists() or (untrained and asked.action is Action.DESCRIBE):
        return _begun(site, path, source)
    with refusing(f"{path} cannot be read", StoreError, "; `echofm client purge` the run"):
        then = completed(pd.read_parquet(path))
        if untrained and then.attrs[SOURCE] != source:
            return _begun(site, path, source)
        least = int(then.attrs[LEAST])
        # Kept as of another patient, a clip may be of one who has withdrawn.
        then = then[~withdrawn.rows(then)]
        stored = then.loc[then.pop(STORED), "clip_id"]
    rows, changes = _as_they_were(then, site.manifest)
    used = rows["clip_id"].isin(stored)
    least, unstored = max(least, site.min_patients), int((~used).sum())
    return replace(site, manifest=rows[used], min_patients=least, unstored=unstored), changes


def _begun(site: Site, path: Path, source: str) -> tuple[Site, Changes]:
    """Write the rows of now down as those of the run; where their files lie is not the run's."""
    stored = [str(clip) in site.store for clip in site.manifest["clip_id"]]
    rows = site.manifest.drop(columns="path").assign(**{STORED: stored})
    rows.attrs = {LEAST: site.min_patients, SOURCE: source}
    write_whole(path, rows.to_parquet(index=False), private=True)
    return site, Changes()


def _as_they_were(then: pd.DataFrame, now: pd.DataFrame) -> tuple[pd.DataFrame, Changes]:
    """Rows of then that are still there, in the order of then, and what is not as it was."""
    now = now.set_index("clip_id", drop=False)
    there = then["clip_id"].isin(now.index)
    then = then[there]
    today = now.loc[then["clip_id"]].reset_index(drop=True)
    rows = then.reset_index(drop=True).assign(path=today["path"])[list(now.columns)]
    differs = patient_keys(rows) != patient_keys(today)
    for name in _DECIDE:
        before, after = rows[name], today[name]
        differs |= ~((before == after).fillna(False) | (before.isna() & after.isna()))
    new = ~now.index.isin(then["clip_id"])
    return rows, Changes(int(differs.sum()), int((~there).sum()), int(new.sum()))
