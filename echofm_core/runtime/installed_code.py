"""Which code is installed: one hash over the files of our four packages, and versions beside it."""

import hashlib
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import echofm_core

#: What makes up the distribution, side by side in one folder.
PACKAGES = ("client", "echofm_core", "server", "simulations")
#: Form of :func:`software`.
SOFTWARE = re.compile(r"([a-z-]{1,32} [A-Za-z0-9.+_-]{1,64}(; (?!$)|$)){1,10}")


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


def software() -> str:
    """What runs here, as ``NAME VERSION; ...``: this package, its code, Python, torch and Flower.

    >>> software().partition(";")[0].partition(" ")[0]
    'echofm-federated'
    """
    found = {
        "echofm-federated": echofm_core.__version__,
        "code": code_digest(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "flwr")},
    }
    return "; ".join(f"{name} {value}" for name, value in found.items())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
