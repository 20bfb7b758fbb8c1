"""Sites from what is known of recordings: institution, image quality, or scanner."""

import re

import pandas as pd

from echofm_core.data.patients import archives, patient_keys
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.errors import EmptySiteError

_WORST_FIRST = ("Poor", "Medium", "Good")


class _Grouped:
    """Patients in groups by one column; groups below ``min_patients`` become ``other``."""

    column: str
    needs: str
    """What the column holds, and where it is known."""
    synthetic = False

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """Group of each row's patient; ``other`` where unknown or the group is small.

        Raises:
            EmptySiteError: No row has the column.
        """
        if manifest[self.column].isna().all():
            raise EmptySiteError(
                f'protocol "{config.name.value}" needs {self.needs}; no clip of '
                f"{sorted(manifest['dataset'].unique())} has it: use another protocol."
            )
        key = patient_keys(manifest)
        sites = self.groups(manifest, key).astype("string")
        counts = key.groupby(sites).nunique()
        small = counts.index[counts < config.min_patients]
        return sites.where(~sites.isin(small), "other")

    def groups(self, manifest: pd.DataFrame, key: pd.Series) -> pd.Series:
        """Group of every row, by its patient ``key``."""
        raise NotImplementedError


class Quality(_Grouped):
    """A patient's worst image quality (CAMUS: Good, Medium, Poor): ``quality-good`` and so on."""

    caveat = (
        "Sites are image-quality classes of one data set. Quality is confounded with EF "
        "(CAMUS means: 53.6, 51.0, 45.7 from good to poor)."
    )
    column, needs = "quality", "image quality, as CAMUS names it"

    def groups(self, manifest: pd.DataFrame, key: pd.Series) -> pd.Series:
        """The worst of a patient's clips."""
        order = {name: rank for rank, name in enumerate(_WORST_FIRST)}
        worst = manifest["quality"].map(order).astype("Float64").groupby(key).transform("min")
        names = {float(rank): f"quality-{name.lower()}" for name, rank in order.items()}
        return worst.map(names).fillna("other")


class VendorModel(_Grouped):
    """The scanner (slug of manufacturer and model) that most of a patient's clips come from."""

    caveat = (
        "Sites are scanner models inside one archive: device shift, not institutional shift; "
        "MIMIC-IV-ECHO looks GE-only."
    )
    column, needs = "model", "device names, as MIMIC-IV-ECHO and DICOM files have them"

    def groups(self, manifest: pd.DataFrame, key: pd.Series) -> pd.Series:
        """The commonest device of a patient's clips."""
        device = (manifest["vendor"].fillna("") + " " + manifest["model"].fillna("")).str.strip()
        counts = device.to_frame("device").assign(key=key).value_counts(["key", "device"])
        # value_counts orders by count only; the name breaks ties the same way everywhere.
        ranked = counts.reset_index().sort_values(
            ["key", "count", "device"], ascending=[True, False, True]
        )
        home = ranked.drop_duplicates("key").set_index("key")["device"]
        return key.map(home.map(_slug))


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
