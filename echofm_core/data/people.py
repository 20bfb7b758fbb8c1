"""Who is one person: the unit of splits, of privacy and of confidence intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

#: Data set -> the archive whose patients it holds, under the same numbers. Taken for two people,
#: one of them would train and the other test.
ARCHIVES = {"mimic_lvvol_a4c": "mimic_iv_echo"}
_CAMUS = re.compile(r"((training|testing)_)?patient\d{1,4}(_[24]CH\w*)?")
_STANFORD = re.compile(r"0X[0-9A-Z]{1,16}")
_BOSTON = re.compile(r"(lvvol_)?p?\d{1,8}(_\d{1,4})?")
#: Data sets whose publishers took out what tells of a person, and the form of their ids and names;
#: all others are a hospital's own.
PUBLISHED: Mapping[str, re.Pattern[str]] = {
    "camus": _CAMUS,
    "camus_mhd": _CAMUS,
    "cardiac_uda": re.compile(r"(Site_[A-Za-z]{1,4}_\d+_)?patient-?\d+(-\d+(_\w{5})?)?"),
    "echonet_dynamic": _STANFORD,
    "echonet_lvh": _STANFORD,
    "echonet_pediatric": re.compile(r"((A4C|PSAX)_)?CR\w{1,8}(-CR\w{1,8}(-\d{1,6})?)?"),
    "hmc_qu": re.compile(r"ES\d{1,6}(_A[24]C_\d+)?"),
    "mimic_iv_echo": _BOSTON,
    "mimic_lvvol_a4c": _BOSTON,
    "tmed2": re.compile(r"\d{1,5}(s\d{1,3}(_\d{1,4})?)?"),
}


def archives(table: pd.DataFrame) -> pd.Series:
    """Archive of each row: its data set, or the one whose patients that holds."""
    return table["dataset"].astype("string").replace(ARCHIVES)


def people(table: pd.DataFrame) -> pd.Series:
    """A key of each row's person; patient numbers of two archives are never the same person."""
    return archives(table).str.cat(table["patient_id"].astype("string"), sep="\x1f")
