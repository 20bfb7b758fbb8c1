"""Which module imports which: no circles, and an import inside a function has its reason.

The reason is always the same: the import is of a library that is slow to load or optional, or of
a module of ours that loads one, and the importing module does not load it anyway.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("echofm_core", "client", "server", "simulations")
#: Where Flower's grid over a network is, which loads half of Flower.
HTTP_GRID = "flwr.superlink.grid.http_grid"
#: Libraries that take more than 40 ms of CPU to import, or that come with an extra alone.
HEAVY = {
    HTTP_GRID, "cryptography", "cv2", "cyclonedx", "decord", "flwr", "grpc", "grpc_health", "httpx",
    "imagecodecs", "jinja2", "matplotlib", "mlflow", "model_signing", "nibabel", "numpy", "onnx",
    "onnxruntime", "onnxscript", "opacus", "openpyxl", "packageurl", "pandas", "peft", "pyarrow",
    "pydicom", "rich", "safetensors", "scipy", "starlette", "tensorboard", "timm", "torch",
    "uvicorn",
}  # fmt: skip


@dataclass
class Module:
    """Names of modules that one imports: at its top, and inside functions with their lines."""

    top: set[str] = field(default_factory=set)
    inner: list[tuple[int, set[str]]] = field(default_factory=list)


@cache
def modules() -> dict[str, Module]:
    """Every module of the product."""
    paths = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: _read(path, name, set(paths)) for name, path in paths.items()}


def _read(path: Path, name: str, known: set[str]) -> Module:
    found = Module()
    for node, inside in _imports(ast.parse(path.read_text(encoding="utf-8")), False):
        names = {each for each in _targets(node, known) if each != name}
        if inside:
            found.inner.append((node.lineno, names))
        else:
            found.top |= names
    return found


def _imports(node: ast.AST, inside: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Imports that run, and whether they do so when a function is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, inside
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports(child, inside or function)


def _targets(node: ast.Import | ast.ImportFrom, known: set[str]) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    base = node.module or ""
    names = {f"{base}.{alias.name}" for alias in node.names}
    return {name if name in known else base for name in names}


@cache
def heavy(name: str) -> frozenset[str]:
    """Heavy libraries that importing a module loads, its packages' ``__init__`` included."""
    seen: set[str] = set()
    waiting, found = [name], set()
    while waiting:
        each = waiting.pop()
        first = each.partition(".")[0]
        found |= HEAVY & {first, each}
        if first not in PACKAGES or each in seen:
            continue
        seen.add(each)
        if parent := each.rpartition(".")[0]:
            waiting.append(parent)
        if each in modules():
            waiting.extend(modules()[each].top)
    return frozenset(found)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count too: they hide a circle, they do not undo it."""
    graph = {
        name: {
            target
            for names in (module.top, *(names for _, names in module.inner))
            for target in names
            if target in modules()
        }
        for name, module in modules().items()
    }
    try:
        TopologicalSorter(graph).prepare()
        circle = []
    except CycleError as error:
        circle = error.args[1]
    assert not circle, " -> ".join(circle)


def test_an_import_inside_a_function_spares_a_heavy_library() -> None:
    """What it loads, the module does not load anyway."""
    needless = [
        f"{name}:{line} imports {target}"
        for name, module in modules().items()
        for line, targets in module.inner
        for target in sorted(targets)
        if not heavy(target) - heavy(name)
    ]
    assert not needless, "\n".join(needless)


@pytest.mark.parametrize(
    "name", ["server.phase", "simulations.engine", "client.wire", "client.run_clientapp"]
)
def test_messages_go_round_without_pytorch(name: str) -> None:
    """Loading it takes seconds and 700 MB, in the server and in each worker that plays a site."""
    assert not heavy(name) & {"opacus", "pandas", "scipy", "timm", "torch"}


def test_a_simulation_runs_without_flowers_network() -> None:
    """Importing Flower's HTTP grid takes half a CPU second, in a simulation for nothing."""
    code = "import sys, server.rounds, simulations.engine; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HTTP_GRID not in done.stdout.split()
