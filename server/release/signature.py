"""A folder under a signature (OpenSSF model signing): made with a key of our own, and checked.

Symptom: somebody swaps a file in what an office has filed, and nobody can tell. Reason: a list of
hashes beside the files is swapped with them. Protocol: every file of the folder is hashed, and the
list of names and hashes is signed with an elliptic-curve key, offline; the signature lies in the
folder and is the one file that it does not cover. To check, the key is given that was handed over
by another way. What can still go wrong: whoever has the key signs what he likes; and with the key
that lies in the folder alone, a folder that was made anew as a whole passes.
"""

from __future__ import annotations

import ast
import hashlib
import re
import stat
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from echofm_core.runtime.errors import EnvironmentClashError, ReleaseError
from echofm_core.runtime.extras import install
from echofm_core.runtime.files import write_whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec
    from model_signing.hashing import Config

#: Name of the signature in the folder, and of a copy of the public key.
SIGNATURE, PUBLIC = "release.sig", "release.pub"
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


def require_extra() -> None:
    """Check, before anything is read, that what a release needs is installed.

    Raises:
        EnvironmentClashError: The extra is missing.
    """
    for module in ("model_signing", "OpenSSL", "cyclonedx"):
        if find_spec(module) is None:
            raise EnvironmentClashError(
                f"a release needs the package {module}, which the extra `release` brings; "
                f"{install('release')}, and run the same command again."
            )


def signing_key(path: Path) -> str:
    """See to a private key; in a coordinator's folder one is made on first use.

    Nowhere else, where it would be a slip of the pen. Its public part then lies beside it, as
    ``NAME.pub``.

    Returns:
        The public key as PEM.

    Raises:
        ReleaseError: There is none, others can read it, or it is no key that can sign.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    if not path.exists():
        if not (path.parent / "server.toml").exists():
            raise ReleaseError(
                f"{path} does not exist; a key is made on first use in a coordinator's folder (of "
                "`echofm server provision`), elsewhere give one that is there."
            )
        made = ec.generate_private_key(ec.SECP384R1())
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_whole(path.with_suffix(".pub"), _pem(made.public_key()).encode())
        write_whole(path, pem, private=True)
    return _pem(_private_key(path).public_key())


def sign(folder: Path, key: Path) -> None:
    """Write the signature of a folder into it."""
    from model_signing.signing import Config

    signer = Config().set_hashing_config(_hashing()).use_elliptic_key_signer(private_key=key)
    signer.sign(folder, folder / SIGNATURE)


def verify(folder: Path, public: Path | None = None) -> str:
    """Check a folder against its signature.

    Args:
        folder: From :func:`sign`.
        public: Public key of the signer; None: the copy in the folder.

    Returns:
        Fingerprint of the key.

    Raises:
        ReleaseError: A file was changed, added or removed, or the key is another.
    """
    from cryptography.exceptions import InvalidSignature
    from model_signing.verifying import Config

    key = public or folder / PUBLIC
    if not (folder / SIGNATURE).is_file():
        raise ReleaseError(f"{folder} is no released folder: it has no {SIGNATURE}.")
    found = fingerprint(key)
    try:
        checked = Config().set_hashing_config(_hashing()).use_elliptic_key_verifier(public_key=key)
        checked.verify(folder, folder / SIGNATURE)
    except InvalidSignature:
        raise ReleaseError(
            f"{folder} is not what was signed: its {SIGNATURE} was not made with the key {key}."
        ) from None
    except Exception as error:  # the library raises what its JSON reader and others do
        raise ReleaseError(
            f"{folder} is not what was signed with {key} ({differing(error)}); ask for it again."
        ) from None
    for path in folder.rglob("*"):
        if path.is_dir() and not any(path.iterdir()):
            raise ReleaseError(
                f"{folder} is not what was signed: the folder {path.name} was added."
            )
    return found


def fingerprint(path: Path) -> str:
    """SHA-256 of a public key's file in DER, in hex: what two sides read to each other.

    Raises:
        ReleaseError: The file holds no such key.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    form = PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(_public_key(path).public_bytes(Encoding.DER, form)).hexdigest()


def _pem(key: ec.EllipticCurvePublicKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _hashing() -> Config:
    """All files but the signature; files of git too, which the library leaves out by default."""
    from model_signing.hashing import Config

    return Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if sys.platform != "win32" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ReleaseError(f"others can read the key {path}; `chmod 600 {path}`, then run again.")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise _no_key(path, "private")
    return key


def _public_key(path: Path) -> ec.EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise _no_key(path, "public")
    return key


def _no_key(path: Path, kind: str) -> ReleaseError:
    return ReleaseError(
        f"{path} is no {kind} elliptic-curve key in PEM without a password (P-256, P-384 or P-521)."
    )


def differing(error: Exception) -> str:
    """What the library found to differ, without the hashes.

    It gives the list of its sentences as Python writes one, with the bytes of each hash in it.
    """
    text = str(error).removeprefix("Signature mismatch: ")
    try:
        sentences = list(map(str, ast.literal_eval(text)))
    except (ValueError, SyntaxError, TypeError):  # what its JSON reader and others say
        sentences = [text]
    words = (re.sub(r": Expected .*", "", sentence, flags=re.DOTALL) for sentence in sentences)
    return re.sub(r"[\[\]\"]", "", "; ".join(words)).rstrip(".")
