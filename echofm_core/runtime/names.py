"""What plans, runs and sites may be called: names become folders, files and rows of tables."""

import hashlib
import re
from collections.abc import Iterable

from echofm_core.runtime.errors import ManifestError

#: In tables and files: all sites together. No site may be called so.
EVERY_SITE = "all"
_PLAIN = r"[A-Za-z0-9][A-Za-z0-9._-]"
#: A plain name: one step of a path on every system, and no hidden file.
PLAIN_NAME = _PLAIN + "{0,63}"
#: Names that are folder names as they stand. Capitals are not: some file systems ignore case.
_FOLDER = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
#: How every other name ends, so that no plain name may.
_HASHED = re.compile(r".*-[0-9a-f]{16}")
#: Devices on Windows, and what loaders take for something else than a site.
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d|all|default")


def name_fault(name: str, longest: int = 64) -> str:
    """Why nothing can be called this, as the end of a sentence; "" where it can.

    >>> name_fault("north-2"), name_fault("_north")[:27]
    ('', 'is not a plain name: letter')
    """
    if len(name) <= longest and re.fullmatch(_PLAIN + "*", name):
        return ""
    return (
        f"is not a plain name: letters, digits, dot, dash and underscore, {longest} at most, the "
        "first a letter or digit"
    )


def site_name_fault(name: str) -> str:
    """Why a site cannot be called this, as the end of a sentence; "" where it can."""
    return "stands for all sites together" if name == EVERY_SITE else name_fault(name)


def folder_names(sites: Iterable[str]) -> dict[str, str]:
    """Folder of each site, safe on every file system: its name, or a part of it and a hash.

    The names are those of a data set, and any text. A site's folder depends on its own name alone.

    Raises:
        ManifestError: Two sites would share a folder (two names with one 64-bit hash).
    """
    folders = {site: _folder(site) for site in sites}
    if len(set(folders.values())) < len(folders):
        raise ManifestError("two sites would get the same folder; rename one of them.")
    return folders


def _folder(site: str) -> str:
    plain = _FOLDER.fullmatch(site) and not _RESERVED.fullmatch(site)
    if plain and not _HASHED.fullmatch(site):
        return site
    readable = re.sub(r"[^a-z0-9]+", "-", site.lower()).strip("-")[:24].strip("-") or "site"
    return f"{readable}-{hashlib.sha256(site.encode()).hexdigest()[:16]}"
