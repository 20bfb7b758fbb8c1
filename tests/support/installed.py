"""This package installed as a hospital installs it: no source tree, an environment of its own.

The wheel is built from the tree and installed by pip; what others wrote is not downloaded again,
but read where the tests have it.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
#: What the wheel is built from.
SOURCES = (
    *("pyproject.toml", "README.md", "LICENSE"),
    *("echofm_core", "client", "server", "simulations"),
)
#: A program of somebody else's package, in this environment.
_PROGRAM = """#!{python}
import sys
from {module} import {name}
sys.exit({name}())
"""


def build_wheel(folder: Path) -> Path:
    """The wheel of this tree, written into a folder."""
    copy = folder / "tree"
    copy.mkdir(parents=True)
    for name in SOURCES:
        source = TREE / name
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, copy / name, ignore=skip)
        else:
            shutil.copy(source, copy / name)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, copy)
    (wheel,) = folder.glob("*.whl")
    return wheel


def make_environment(wheel: Path, folder: Path) -> Path:
    """An environment with the wheel; returns its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    others = folder / "lib" / version / "site-packages" / "others.pth"
    # A path in such a file is searched, and the files of its kind in there are not read: what this
    # environment has from a source tree stays unknown.
    others.write_text(sysconfig.get_path("purelib") + "\n")
    programs = folder / "bin"
    python = programs / "python"
    _pip("--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel)
    for entry in importlib.metadata.distribution("flwr").entry_points:
        module, _, name = entry.value.partition(":")
        program = programs / entry.name
        program.write_text(_PROGRAM.format(python=python, module=module, name=name))
        program.chmod(0o755)
    return programs


def _pip(*words: object) -> None:
    quiet = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, *quiet, *map(str, words)], check=True)
