"""Only the app bundle of the installed package is answered; any other is refused, and none runs.

Symptom: whoever reaches the coordinator's control interface submits a bundle with code, and each
hospital runs it. Reason: a SuperNode runs what its SuperLink sends. Protocol: a site computes what
the bundle of its own version holds and takes no other, by content and not by what messages say of
it; then it runs the installed app, never one from a bundle. What can still go wrong: the SuperNode
itself reads the settings of a bundle before this does, so a monstrous one can take its memory.
"""

import hashlib
import io
import re
import tomllib
import zipfile
from typing import Any

import tomli_w

from echofm_core.app_bundle import bundle_settings
from echofm_core.runtime.errors import BundleError

#: Bytes of a bundle that is looked into; ours has some 600.
MOST_BYTES = 16_384
#: What Flower puts into a bundle of one file.
SETTINGS, CONTENTS = "pyproject.toml", ".info/CONTENT"


def check_bundle(bundle: bytes) -> None:
    """Refuse a bundle that is not the installed package's own.

    Raises:
        BundleError: It holds code, names other apps, or is another version's.
    """
    if fault := _fault(bundle):
        digest = hashlib.sha256(bundle).hexdigest()
        raise BundleError(
            f"this site runs its installed echofm-federated alone, and refused the app bundle with "
            f"SHA-256 {digest}, since {fault}."
        )


def _fault(bundle: bytes) -> str:
    """Why a bundle is not ours, in words that quote nothing of it; "" where it is."""
    if len(bundle) > MOST_BYTES:
        return f"it has {len(bundle)} bytes, more than the {MOST_BYTES} of one without code"
    try:
        settings, contents = _read(bundle)
        listed = f"{SETTINGS},{hashlib.sha256(settings).hexdigest()},{8 * len(settings)}"
        if contents != listed.encode():
            return "its list of contents does not fit its settings"
        return _difference(tomllib.loads(settings.decode()))
    except Exception:  # whatever a crafted file makes the readers raise
        return "it is not a plain archive of settings alone, as `echofm server run` submits it"


def _read(bundle: bytes) -> tuple[bytes, bytes]:
    """Settings and list of contents of a bundle that holds these alone, once and not compressed.

    What is stored plainly cannot be longer than the archive, whatever sizes stand in it.

    Raises:
        ValueError: They are not.
        Exception: It is no archive that can be read.
    """
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        entries = archive.infolist()
        plain = all(
            entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
            for entry in entries
        )
        if sorted(entry.filename for entry in entries) != sorted((SETTINGS, CONTENTS)) or not plain:
            raise ValueError("other files than ours")
        return archive.read(SETTINGS), archive.read(CONTENTS)


def _difference(settings: dict[str, Any]) -> str:
    """What the settings of a bundle have that those of this version do not."""
    ours = bundle_settings()
    # As text: Python holds false and 0 for equal.
    if tomli_w.dumps(settings) == tomli_w.dumps(ours):
        return ""
    version = _at(settings, "project", "version")
    if version != ours["project"]["version"]:
        shown = str(version)
        known = (
            f"version {shown}"
            if re.fullmatch(r"[0-9A-Za-z.+-]{1,40}", shown)
            else "another version"
        )
        return (
            f"it is of {known}, and {ours['project']['version']} is installed here: install the "
            "same on both sides"
        )
    apps = ("tool", "flwr", "app", "components")
    if _at(settings, *apps) != _at(ours, *apps):
        return f"it names other apps than {' and '.join(_at(ours, *apps).values())}"
    return "its settings are not those that `echofm server provision` writes"


def _at(settings: Any, *keys: str) -> Any:
    """A value in nested tables; None where there is none."""
    for key in keys:
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings
