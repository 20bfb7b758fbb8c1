"""A public function that raises an error of ours says so, by name, under ``Raises:``.

Functions of ``commands`` modules are left out: their docstrings are what ``--help`` prints.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from echofm_core.runtime import errors

ROOT = Path(__file__).parents[2]
PACKAGES = ("echofm_core", "client", "server", "simulations")


def public_functions(node: ast.AST) -> Iterator[ast.FunctionDef]:
    """Functions and methods without an underscore, at any depth of public classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
            if isinstance(child, ast.FunctionDef):
                yield child
            else:
                yield from public_functions(child)


def raised(node: ast.AST) -> Iterator[str]:
    """Names of the errors that a function's own lines raise, those of inner functions left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and child.exc is not None:
            error = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
            if isinstance(error, ast.Name):
                yield error.id
        elif not isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            yield from raised(child)


def undocumented(source: str) -> list[str]:
    ours = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.EchoFMError)
    }
    found = []
    for function in public_functions(ast.parse(source)):
        section = (ast.get_docstring(function) or "").partition("Raises:")[2]
        missing = sorted({name for name in raised(function) if name in ours} - set(_words(section)))
        found += [f"{function.name} raises {name}" for name in missing]
    return found


def _words(text: str) -> list[str]:
    return [word.strip(":,.`") for word in text.split()]


def test_every_public_function_that_raises_says_so() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {what}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.name.endswith("commands.py")
        for what in undocumented(path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("docstring", "found"),
    [
        ("Load.", ["load raises PlanError"]),
        ("Load.\n\n    Raises:\n        DataRootError: No.\n    ", ["load raises PlanError"]),
        ("Load.\n\n    Raises:\n        PlanError: No.\n    ", []),
    ],
)
def test_what_the_check_finds(docstring: str, found: list[str]) -> None:
    """By hand: one function that raises one error, without a section, with a wrong one, right."""
    source = f'def load(x):\n    """{docstring}"""\n    if x:\n        raise PlanError("no")\n'
    assert undocumented(source) == found
