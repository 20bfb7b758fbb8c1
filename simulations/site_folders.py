"""Site names as folder names: safe on every file system, and never two sites in one folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from echofm_core.runtime.errors import ManifestError

#: Names that are folder names as they stand. Capitals are not: some file systems ignore case.
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
#: How every other name ends, so that no plain name may.
_HASHED = re.compile(r".*-[0-9a-f]{16}")
#: Devices on Windows, and what loaders take for something else than a site.
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d|all|default")


def folder_names(sites: Iterable[str]) -> dict[str, str]:
    """Folder of each site: its name where that is safe, else a readable part and a hash of it.

    A site's folder depends on its own name alone.

    Raises:
        ManifestError: Two sites would share a folder (two names with one 64-bit hash).
    """
    folders = {site: _folder(site) for site in sites}
    if len(set(folders.values())) < len(folders):
        raise ManifestError("two sites would get the same folder; rename one of them.")
    return folders


def _folder(site: str) -> str:
    plain = _PLAIN.fullmatch(site) and not _RESERVED.fullmatch(site)
    if plain and not _HASHED.fullmatch(site):
        return site
    readable = re.sub(r"[^a-z0-9]+", "-", site.lower()).strip("-")[:24].strip("-") or "site"
    return f"{readable}-{hashlib.sha256(site.encode()).hexdigest()[:16]}"
