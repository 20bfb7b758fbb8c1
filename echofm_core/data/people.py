"""Who is one person: the unit of splits, of privacy and of confidence intervals."""

from __future__ import annotations

import pandas as pd

#: Data set -> the archive whose patients it holds, under the same numbers. Taken for two people,
#: one of them would train and the other test.
ARCHIVES = {"mimic_lvvol_a4c": "mimic_iv_echo"}
#: Data sets whose publishers took out what tells of a person; all others are a hospital's own.
PUBLISHED = frozenset(
    {
        "camus", "camus_mhd", "cardiac_uda", "echonet_dynamic", "echonet_lvh", "echonet_pediatric",
        "hmc_qu", "mimic_iv_echo", "mimic_lvvol_a4c", "tmed2",
    }
)  # fmt: skip


def archives(table: pd.DataFrame) -> pd.Series:
    """Archive of each row: its data set, or the one whose patients that holds."""
    return table["dataset"].astype("string").replace(ARCHIVES)


def people(table: pd.DataFrame) -> pd.Series:
    """A key of each row's person; patient numbers of two archives are never the same person."""
    return archives(table).str.cat(table["patient_id"].astype("string"), sep="\x1f")
