"""Ids by keyed hash: stable at one institution, not to be undone without its secret."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import unicodedata
from pathlib import Path

from echofm_core.runtime.errors import DataRootError

#: Bytes of a secret; fewer could be guessed.
SECRET_BYTES = 32


def new_secret() -> bytes:
    """A secret from the operating system."""
    return secrets.token_bytes(SECRET_BYTES)


def write_secret(file: Path) -> None:
    """Write a new secret, readable by its owner alone.

    Raises:
        DataRootError: The file is there: another secret would give every patient another id.
    """
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise DataRootError(
            f"{file} is there already; another secret would give every patient another id, so it "
            "is not overwritten."
        ) from None
    except OSError as error:
        raise DataRootError(f"the secret {file} cannot be written ({error.strerror}).") from None
    with os.fdopen(handle, "wb") as stream:
        stream.write(new_secret().hex().encode() + b"\n")


def read_secret(file: Path) -> bytes:
    """The secret in a file of hexadecimal digits.

    Raises:
        DataRootError: Missing, not hexadecimal, or shorter than ``SECRET_BYTES``.
    """
    advice = f"make one with `echofm data secret {file}` and keep it at the institution."
    try:
        secret = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise DataRootError(
            f"the secret {file} cannot be read ({type(error).__name__}); {advice}"
        ) from None
    if len(secret) < SECRET_BYTES:
        raise DataRootError(f"the secret {file} has {len(secret)} bytes, not 32; {advice}")
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
