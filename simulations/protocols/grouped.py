"""Sites from a column of the manifest: what a rule adds is how patients are grouped by it."""

import re

import pandas as pd

from echofm_core.data.patients import patient_keys
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.errors import EmptySiteError

#: Site of the patients whose group is unknown, or has fewer than ``min_patients``.
OTHER = "other"


class Grouped:
    """Patients in groups; those of unknown or small ones are at ``other``."""

    needs: str
    """What the column holds, and where it is known."""
    synthetic = False

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """Group of each row's patient; ``other`` where unknown or the group is small.

        Raises:
            EmptySiteError: No row has the column, or nothing in it that is understood.
        """
        key, known = patient_keys(manifest), manifest[self.column(config)].notna().any()
        groups = self.groups(manifest, key, config).astype("string") if known else None
        if groups is None or groups.isna().all():
            raise EmptySiteError(
                f'protocol "{config.name.value}" needs {self.needs}; no clip of '
                f"{sorted(manifest['dataset'].unique())} has it: use another protocol."
            )
        sites = groups.fillna(OTHER)
        counts = key.groupby(sites).nunique()
        small = counts.index[counts < config.min_patients]
        return sites.where(~sites.isin(small), OTHER)

    def column(self, config: ProtocolConfig) -> str:
        """Column of the manifest."""
        raise NotImplementedError

    def groups(self, manifest: pd.DataFrame, key: pd.Series, config: ProtocolConfig) -> pd.Series:
        """Group of every row, by its patient ``key``; null where it is unknown."""
        raise NotImplementedError


def commonest(values: pd.Series, key: pd.Series) -> pd.Series:
    """The value that most of a patient's clips have, of every row; null where none has any.

    Of values that are as common the first in the alphabet counts, so that it is one everywhere.
    """
    counts = values.to_frame("value").assign(key=key).value_counts(["key", "value"])
    ranked = counts.reset_index().sort_values(
        ["key", "count", "value"], ascending=[True, False, True]
    )
    return key.map(ranked.drop_duplicates("key").set_index("key")["value"])


def slug(name: str) -> str:
    """Text as the name of a site: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-") or OTHER
