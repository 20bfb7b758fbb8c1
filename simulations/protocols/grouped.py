"""Sites from what is known of recordings: institution, image quality, or scanner."""

import re

import pandas as pd

from echofm_core.data.patients import archives, patient_keys
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.errors import EmptySiteError

_WORST_FIRST = ("Poor", "Medium", "Good")


def _merge_small(sites: pd.Series, patients: pd.Series, minimum: int) -> pd.Series:
    """Rename sites with fewer than ``minimum`` patients to ``other``."""
    counts = patients.groupby(sites).nunique()
    small = counts.index[counts < minimum]
    return sites.where(~sites.isin(small), "other")


class Quality:
    """A patient's worst image quality (CAMUS: Good, Medium, Poor)."""

    caveat = (
        "Sites are image-quality classes of one data set. Quality is confounded with EF "
        "(CAMUS means: 53.6, 51.0, 45.7 from good to poor)."
    )
    synthetic = False

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """``quality-good`` and so on; ``other`` where no quality is given or the group is small.

        Raises:
            EmptySiteError: No row names a quality.
        """
        if manifest["quality"].isna().all():
            raise EmptySiteError(
                'protocol "quality" needs image quality, but no clip of '
                f"{sorted(manifest['dataset'].unique())} names one; use CAMUS."
            )
        key = patient_keys(manifest)
        order = {name: rank for rank, name in enumerate(_WORST_FIRST)}
        worst = manifest["quality"].map(order).astype("Float64").groupby(key).transform("min")
        names = {float(rank): f"quality-{name.lower()}" for name, rank in order.items()}
        sites = worst.map(names).fillna("other").astype("string")
        return _merge_small(sites, key, config.min_patients)


class VendorModel:
    """The scanner (manufacturer and model) that most of a patient's clips come from."""

    caveat = (
        "Sites are scanner models inside one archive: device shift, not institutional shift; "
        "MIMIC-IV-ECHO looks GE-only."
    )
    synthetic = False

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """Slug of vendor and model; ``other`` where unknown or the group is small.

        Raises:
            EmptySiteError: No row names a device.
        """
        if manifest["model"].isna().all():
            raise EmptySiteError(
                'protocol "vendor_model" needs device names, but no clip of '
                f"{sorted(manifest['dataset'].unique())} has one; use MIMIC-IV-ECHO or DICOM."
            )
        key = patient_keys(manifest)
        device = (manifest["vendor"].fillna("") + " " + manifest["model"].fillna("")).str.strip()
        counts = device.to_frame("device").assign(key=key).value_counts(["key", "device"])
        # value_counts orders by count only; the name breaks ties the same way everywhere.
        ranked = counts.reset_index().sort_values(
            ["key", "count", "device"], ascending=[True, False, True]
        )
        home = ranked.drop_duplicates("key").set_index("key")["device"]
        sites = key.map(home.map(_slug)).astype("string")
        return _merge_small(sites, key, config.min_patients)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-") or "other"


class Institution:
    """Natural sites: the data set, or the hospital where a release names several.

    Shift of population, device, protocol and label method all at once.
    """

    caveat = (
        "Sites are institutions. EF is measured in different ways (monoplane Simpson at "
        "EchoNet-Dynamic, biplane and rounded at CAMUS), so read the bias of each site too."
    )
    synthetic = False

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """The hospital that the release names, else the archive that the data set is of."""
        return manifest["site"].fillna(archives(manifest))
