"""Who is one patient, the unit of splits, privacy and intervals; and ids by keyed hash.

A keyed hash is stable at one institution and cannot be undone without its secret.
"""

import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from echofm_core.runtime.errors import DataRootError, OutputError, refusing

#: Data set -> the archive whose patients it holds, under the same numbers. Taken for two patients,
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


def patient_keys(table: pd.DataFrame) -> pd.Series:
    """A key of each row's person; patient numbers of two archives are never the same person."""
    return archives(table).str.cat(table["patient_id"].astype("string"), sep="\x1f")


#: Bytes of a secret; fewer could be guessed.
SECRET_BYTES = 32


def new_secret() -> bytes:
    """A secret from the operating system."""
    return secrets.token_bytes(SECRET_BYTES)


def write_secret(file: Path) -> None:
    """Write a new secret, readable by its owner alone.

    Raises:
        DataRootError: The file is there: another secret would give every patient another id.
        OutputError: It cannot be written.
    """
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise DataRootError(
            f"{file} is there already; another secret would give every patient another id, so it "
            "is not overwritten."
        ) from None
    except OSError as error:
        raise OutputError(f"the secret {file} cannot be written ({error.strerror}).") from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(new_secret().hex().encode() + b"\n")
    except OSError:  # a full disk; a part of a secret would be taken for one that is there
        file.unlink()
        raise


def read_secret(file: Path) -> bytes:
    """The secret in a file of hexadecimal digits.

    Raises:
        DataRootError: Missing, not hexadecimal, or shorter than ``SECRET_BYTES``.
    """
    advice = f"; make one with `echofm data secret {file}` and keep it at the institution"
    with refusing(f"the secret {file} cannot be read", DataRootError, advice):
        secret = bytes.fromhex(file.read_text(encoding="ascii").strip())
    if len(secret) < SECRET_BYTES:
        raise DataRootError(f"the secret {file} has {len(secret)} bytes, not 32{advice}.")
    return secret


def pseudonym(secret: bytes, kind: str, text: str) -> str:
    """HMAC-SHA256 of ``text``, cut to 64 bits: 16 hexadecimal digits.

    Args:
        secret: The institution's.
        kind: What is hashed, e.g. ``patient``: equal texts of two kinds get different ids.
        text: An identifier; blanks around it and its Unicode form do not count.
    """
    text = unicodedata.normalize("NFC", text).strip()
    message = f"{kind}\x1f{text}".encode(errors="surrogateescape")
    return hmac.new(secret, message, hashlib.sha256).hexdigest()[:16]
