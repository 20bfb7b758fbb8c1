"""The command as a user meets it: real processes, their exit codes and their one sentence."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import Echofm

ECHOFM = Path(sys.executable).with_name("echofm")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(ECHOFM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "command",
    [(), ("demo",), ("simulate",), ("model",), ("data",), ("data", "index"), ("data", "store"),
     ("phantom",), ("phantom", "write"), ("server",), ("client",), ("errors",), ("keys",)],
)  # fmt: skip
def test_every_help_page_works_and_names_its_use(echofm: Echofm, command: tuple[str, ...]) -> None:
    result = echofm(*command, "--help")
    assert result.returncode == 0, result.stderr
    assert "Usage: echofm" in result.stdout


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("sead = 1", 10, "unknown key `sead`"),
        ("[data]\nsize = 'x'", 10, "`data.size`"),
        ("[machine]\nroots = ['nowhere']", 11, "nowhere"),
        ("name = 'x'", 11, "set machine.roots"),
        ("this is not toml", 10, "cannot be read as TOML"),
    ],
)
def test_a_wrong_plan_ends_with_one_sentence_and_its_code(
    echofm: Echofm, tmp_path: Path, text: str, code: int, sentence: str
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(text)
    result = echofm("simulate", plan, "--out", tmp_path / "run")
    assert result.returncode == code, result.stderr
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert f"(exit code {code}; see `echofm errors {code}`)" in result.stderr


def test_a_folder_that_may_not_be_read_is_a_sentence(tmp_path: Path) -> None:
    """A superuser without the right to pass over permissions is as everybody else."""
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if os.geteuid() == 0 and (
        not shutil.which("setpriv") or subprocess.run([*plain, "true"], check=False).returncode
    ):
        pytest.skip("this superuser cannot do without its rights")
    folder = tmp_path / "locked" / "run"
    folder.mkdir(parents=True)
    folder.parent.chmod(0)
    prefix = plain if os.geteuid() == 0 else []
    words = [sys.executable, "-c", "from echofm_core.cli import main; main()", "watch", str(folder)]
    ran = subprocess.run([*prefix, *words], capture_output=True, text=True, check=False)
    folder.parent.chmod(0o700)
    assert ran.returncode == 32, ran.stderr
    assert f"{folder} cannot be used (Permission denied);" in " ".join(ran.stderr.split())


@pytest.mark.parametrize(("words", "meant"), [(["erors"], "errors"), (["data", "idnex"], "index")])
def test_a_mistyped_command_is_told_once_what_was_meant(words: list[str], meant: str) -> None:
    result = run(*words)
    assert result.returncode == 2
    assert result.stderr.count(f"Did you mean '{meant}'?") == 1


def test_a_missing_plan_names_its_path(tmp_path: Path) -> None:
    result = run("simulate", tmp_path / "none.toml")
    assert result.returncode == 10
    assert "none.toml does not exist" in result.stderr


def test_an_empty_folder_is_no_data_root(echofm: Echofm, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    plan = tmp_path / "plan.toml"
    plan.write_text("[machine]\nroots = ['empty']")
    result = echofm("simulate", plan, "--out", tmp_path / "run")
    assert result.returncode == 11, result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_with_something_else_in_it_is_never_written_to(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("[machine]\nroots = ['.']")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("mine")
    result = run("simulate", plan, "--out", theirs)
    assert result.returncode == 22
    assert [path.name for path in theirs.iterdir()] == ["thesis.txt"]
