"""What an installation that is not a checkout has to go by: its own words, and sound packages."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from echofm_core import __version__
from echofm_core.runtime.extras import install

ROOT = Path(__file__).parents[2]
PACKAGES = ("echofm_core", "client", "server", "simulations")
ECHOFM = (sys.executable, "-c", "from echofm_core.cli import main; main()")


def run(
    *words: str, ahead: Path | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(place) for place in (ahead, ROOT) if place)
    return subprocess.run(
        [*ECHOFM, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
    )


def package(folder: Path, name: str, **modules: str) -> Path:
    """A package with these modules; returns the folder it lies in."""
    for module, text in {"__init__": "", **modules}.items():
        file = folder / name / f"{module}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.mark.parametrize("name", ["server", "client", "simulations"])
def test_a_foreign_package_of_our_name_is_said_in_one_sentence(tmp_path: Path, name: str) -> None:
    """Whether it holds what we would load or not; nothing of it is run."""
    text = "raise SystemExit('the foreign package was run')"
    ahead = package(tmp_path / "theirs", name, commands="")
    (ahead / name / "__init__.py").write_text(text)
    result = run("keys", ahead=ahead, cwd=tmp_path)
    assert result.returncode == 30, result.stderr
    assert f"another package provides `{name}`" in result.stderr
    assert str(ahead / name) in result.stderr and "Traceback" not in result.stderr


def test_a_module_of_ours_that_cannot_be_imported_is_said_in_one_sentence(tmp_path: Path) -> None:
    broken = "raise ImportError('half of it is missing')"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'echofm_core.phantom.commands': {broken}\n"
        "sys.meta_path.insert(0, Gone())\n"
    )
    result = run("keys", ahead=tmp_path)
    assert result.returncode == 30, result.stderr
    assert "the sub-commands of `core` cannot be loaded (ImportError" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_version_is_printed_by_option_and_by_command() -> None:
    for words in (("--version",), ("version",)):
        assert run(*words).stdout.strip() == __version__


def test_an_exit_code_and_a_key_are_explained_without_any_file() -> None:
    found = run("errors", "11").stdout
    assert "DataRootError" in found and "What to do: check `machine.roots`" in found
    assert run("errors", "99").returncode == 2
    found = run("keys", "finetune").stdout
    assert "local_epochs: int, ≥ 1, ≤ 10000; default 1" in found and "[pretrain]" not in found
    unknown = run("keys", "fintune")
    assert unknown.returncode == 10 and "did you mean 'finetune'" in unknown.stderr


def strings(file: Path) -> list[str]:
    """Every text that may be shown: all but what documents the module or a class of it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    silent = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent
    ]


def test_nothing_shown_points_to_a_page_that_only_a_checkout_has() -> None:
    """Neither texts of a module, help pages among them, nor files that ship with it."""
    pages, seen = re.compile(r"\b(docs|examples)/\w"), 0
    for name in PACKAGES:
        for file in (ROOT / name).rglob("*.*"):
            if file.suffix == ".py":
                texts = strings(file)
            elif file.suffix in {".toml", ".html", ".j2"}:
                texts = [file.read_text(encoding="utf-8")]
            else:
                continue
            seen += len(texts)
            wrong = [text for text in texts if pages.search(text)]
            if file.name == "plan_reference.py":  # writes the page itself
                wrong = [text for text in wrong if not text.startswith("# The plan")]
            assert not wrong, (file, wrong)
    assert seen > 5000


def test_hints_install_what_an_index_has() -> None:
    """By the names in pyproject.toml, and never this software, which nobody holds there."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert install("codecs") == f"pip install '{extras['codecs'][0]}'"
    for extra, packages in extras.items():
        if extra not in ("dev", "ray"):  # installed metadata writes these in another order
            assert install(extra) == "pip install " + " ".join(f"'{one}'" for one in packages)
    files = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "Makefile"]
    files += [file for name in PACKAGES for file in (ROOT / name).rglob("*.py")]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"pip install\s+[\"'`-]*echofm", text), file
