"""Checks of what a site would train on: manifest, splits, labels, store, and a step of training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from client.launch import SiteFile
from echofm_core.runtime.errors import EmptySiteError, ManifestError, StoreError
from echofm_core.runtime.text import many
from echofm_core.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

_BUILD = "run `echofm data store MANIFEST --out STORE`"


class DataChecks:
    """Each returns what it found, or raises what is wrong and what to do.

    Attributes:
        folder: Of the site.
        site: Its settings.
        clips: Its manifest without patients who withdrew; None before it was read.
    """

    folder: Path
    site: SiteFile
    clips: pd.DataFrame | None = None

    def manifest(self) -> str:
        """It is one, and names clips.

        Raises:
            ManifestError: There is no clip in it, or none of a patient who has not withdrawn.
        """
        from client.withdrawn import read_withdrawn
        from echofm_core.data.manifest import load_manifest

        clips = load_manifest(Path(self.site.manifest))
        if clips.empty:
            raise ManifestError(f"{self.site.manifest} holds no clip; see `echofm data doctor`.")
        self.clips = read_withdrawn(self.folder).without(clips)
        if self.clips.empty:
            raise ManifestError(f"all patients of {self.site.manifest} have withdrawn.")
        out = len(clips) - len(self.clips)
        withdrawn = f"; {many(out, 'clip')} of patients who withdrew are left out" if out else ""
        return f"{many(len(clips), 'clip')}{withdrawn}"

    def splits(self) -> str:
        """Patients in one split each; :func:`load_manifest` has refused any other manifest.

        Raises:
            EmptySiteError: Nobody is in ``train``.
        """
        from echofm_core.data.patients import patient_keys

        assert self.clips is not None
        patients = patient_keys(self.clips).groupby(self.clips["split"]).nunique()
        if patients.empty:
            return "none in the manifest: each plan cuts by patient, as its [protocol] says"
        if not patients.get("train"):
            raise EmptySiteError(
                f"nobody is in the split `train` ({patients.to_dict()}); mend the column `split`."
            )
        listed = ", ".join(f"{count} {split}" for split, count in patients.items())
        untested = "; without test patients the model is not tested here"
        return f"patients are {listed}, nobody in two{'' if patients.get('test') else untested}"

    def labels(self) -> str:
        """How many there are."""
        assert self.clips is not None
        columns = dict.fromkeys(spec.column for spec in TASKS.values() if spec.column != "view")
        counts = {name: int(self.clips[name].notna().sum()) for name in columns}
        listed = [f"{many(count, 'clip')} with {name}" for name, count in counts.items() if count]
        return ", ".join(listed) or "none: this site takes part in pre-training only"

    def store(self) -> str:
        """The store opens, and holds frames of the manifest's clips.

        Raises:
            StoreError: It has no clip of the manifest, or lacks too many.
        """
        from echofm_core.data.store.clip_store import open_stores

        path = self.site.store
        store = open_stores(Path(path))
        if self.clips is None:
            there = many(len(store), "clip is", "clips are")
            return f"{there} in {path}; whether they are the manifest's is open"
        clips = [str(clip) for clip in self.clips["clip_id"] if str(clip) in store]
        if not clips:
            raise StoreError(f"no clip of the manifest is in {path}; {_BUILD}.")
        for clip in {clips[0], clips[-1]}:
            store.frames(clip, 0, 1)
        left = len(self.clips) - len(clips)
        other, most = many(left, "clip is", "clips are"), self.site.max_unusable
        if left > most * len(self.clips):
            raise StoreError(
                f"{other} of {len(self.clips):,} not in {path}, more than max_unusable = {most:g} "
                f"in site.toml allows; {_BUILD} to see why."
            )
        rest = f"; {other} not in it and will not be used: {_BUILD} to see why" if left else ""
        there = many(len(clips), "clip of the manifest is", "clips of the manifest are")
        return f"{there} in {path}{rest}"

    def step(self) -> str:
        """A few steps of training over the site's own clips."""
        from client.dry_step import speeds

        return "; ".join(speeds(self.folder, self.site))
