"""Whatever the product asks to be installed is used by it."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("echofm_core", "client", "server", "simulations")
#: Distributions whose import name is another.
NAMES = {
    "decord2": "decord",
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "tomli-w": "tomli_w",
}
#: What another library imports for the product, and the call with which the product asks for it.
BEHIND = {"pyarrow": ".to_parquet("}


def declared() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [re.split(r"[^A-Za-z0-9-]", entry, maxsplit=1)[0] for entry in project["dependencies"]]


def sources() -> list[str]:
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    return [file.read_text(encoding="utf-8") for file in files]


def imported() -> set[str]:
    """Top-level names that some file of the product imports, inside functions too."""
    names = set()
    for node in (node for text in sources() for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_every_declared_dependency_is_used() -> None:
    used = imported() | {name for name, call in BEHIND.items() if call in "".join(sources())}
    names = declared()
    assert len(names) > 15
    assert [name for name in names if NAMES.get(name, name) not in used] == []
