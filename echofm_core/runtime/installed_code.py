"""Which code is installed: one hash over the files of our four packages."""

import hashlib
from pathlib import Path

import echofm_core

#: What makes up the distribution, side by side in one folder.
PACKAGES = ("client", "echofm_core", "server", "simulations")


def code_digest(root: Path | None = None) -> str:
    """SHA-256, in hex, over names and contents of all files of the packages, in name order.

    Compiled copies (``__pycache__``) are left out: they come and go with each start.

    Args:
        root: Folder that holds the packages; None: that of the running installation.
    """
    root = root or Path(echofm_core.__file__).resolve().parents[1]
    whole = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return whole.hexdigest()
