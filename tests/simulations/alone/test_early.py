"""What cannot work is refused before anything is decoded, and leaves no run folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from echofm_core.runtime.errors import (
    EchoFMError,
    EmptySiteError,
    EnvironmentClashError,
    PlanError,
)
from simulations.commands import finetune, simulate
from tests.simulations.alone.conftest import PLAN

#: The folder's own clips are one site with EF and EDV.
NOBODY = PLAN.replace('tasks = ["ef", "edv", "reduced_ef"]', 'tasks = ["as_grade"]')


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (PLAN + "[federation]\nmin_sites = 2\n", PlanError, "makes 1 of these data"),
        (NOBODY, PlanError, "0 of 1 sites have training labels for as_grade"),
        (
            PLAN + '[protocol]\ndatasets = ["echonet_dynamc"]\n',
            PlanError,
            "did you mean 'echonet_dynamic'",
        ),
    ],
)
def test_a_federation_that_cannot_work(
    home: Path, text: str, kind: type[EchoFMError], said: str
) -> None:
    (home / "plan.toml").write_text(text)
    with pytest.raises(kind, match=said):
        simulate(home / "plan.toml", home / "run")
    assert not (home / "run").exists() and not (home / "cache").exists()


@pytest.mark.parametrize("command", [simulate, finetune])
def test_a_device_that_is_not_here(home: Path, command: Callable[[Path, Path], None]) -> None:
    plan = PLAN.replace('device = "cpu"', 'device = "cuda:99"')
    (home / "plan.toml").write_text(plan)
    with pytest.raises(EnvironmentClashError, match="device 'cuda:99' cannot be used here"):
        command(home / "plan.toml", home / "run")
    assert not (home / "run").exists() and not (home / "cache").exists()


def test_an_institution_without_labels(home: Path) -> None:
    (home / "plan.toml").write_text(NOBODY)
    with pytest.raises(EmptySiteError, match="no training clip has a label for as_grade"):
        finetune(home / "plan.toml", home / "run")
    assert not (home / "run").exists() and not (home / "cache").exists()


@pytest.mark.parametrize(
    ("command", "machine", "said"),
    [
        ("simulate", 'roots = ["none"]', "does not exist or is not a folder"),
        ("pretrain", "roots = []", "the plan names no data"),
        ("finetune", 'roots = ["."]\ndevice = "cudda:1"', "'cudda:1', did you mean 'cuda'"),
        ("simulate", 'roots = ["."]\ndevice = "cuda:one"', "no device 'cuda:one'"),
        ("finetune", 'roots = ["."]\nsecret = "none"', "none, which is no file; make one with"),
    ],
)
def test_words_are_refused_before_torch_is_loaded(
    tmp_path: Path, command: str, machine: str, said: str
) -> None:
    (tmp_path / "plan.toml").write_text(f"[machine]\n{machine}\n")
    refused_early(tmp_path, [command, "plan.toml", "--out", "run"], said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ray-address", "127.0.0.1:1"], "nobody listens at 127.0.0.1:1"),
        (["--ray-address", "head"], "'head' is no address of a Ray cluster"),
        (["--ray-address", "h:1", "--engine", "processes"], "--engine processes uses none"),
        (["--workers", "0"], "greater than or equal to 1, got 0"),
    ],
)
def test_options_are_refused_before_torch_is_loaded(
    tmp_path: Path, options: list[str], said: str
) -> None:
    """By the rules of the plan's keys, whose place they take; with data that are there."""
    (tmp_path / "plan.toml").write_text('[machine]\nroots = ["."]\n')
    refused_early(tmp_path, ["simulate", "plan.toml", "--out", "run", *options], said)


PHANTOMS = """[machine]
roots = ["all/hospitals"]
[machine.phantoms]
folder = "all"
[machine.phantoms.patients]
harbour = 2
"""


@pytest.mark.parametrize("command", ["simulate", "pretrain", "finetune"])
@pytest.mark.parametrize(
    ("cache", "out", "said"),
    [
        ("plan.toml/cache", "run", "plan.toml is a file; choose another place"),
        ("plan.toml", "run", "plan.toml is a file, and a folder is wanted"),
        ("cache", "plan.toml/run", "plan.toml is a file; choose another place"),
    ],
)
def test_no_phantom_is_written_where_nothing_can_be_decoded_or_trained(
    tmp_path: Path, command: str, cache: str, out: str, said: str
) -> None:
    """The folder of decoded clips and the run folder, which are written after hours."""
    plan = PHANTOMS.replace("[machine]\n", f'[machine]\ncache = "{cache}"\n')
    (tmp_path / "plan.toml").write_text(plan)
    refused_early(tmp_path, [command, "plan.toml", "--out", out], said)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.toml"]


PUBLISHED = """
[study]
methods = ["local"]
[[study.published]]
what = "EF"
task = "ef"
metric = "maee"
"""


@pytest.mark.parametrize(
    ("words", "taken", "said"),
    [
        ([], False, "no metric of ef 'maee', did you mean 'mae'"),
        (["--dry-run"], False, "no metric of ef 'maee', did you mean 'mae'"),
        ([], True, "choose another --out"),
        (["--dry-run"], True, "choose another --out"),
    ],
)
def test_no_phantom_is_written_for_a_study_that_is_refused(
    tmp_path: Path, words: list[str], taken: bool, said: str
) -> None:
    """A wrong name, and a run folder that holds something else; PyTorch is not loaded for it."""
    (tmp_path / "plan.toml").write_text(PHANTOMS + PUBLISHED)
    if taken:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "mine.txt").write_text("mine")
    refused_early(tmp_path, ["simulate", "plan.toml", "--out", "run", *words], said)
    assert not (tmp_path / "all").exists()


#: Below a file, where no folder can be made.
TAKEN, TAKEN_WORDS = "model.safetensors/x", "model.safetensors is a file; choose another place"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "model", ".", "--out", "run"], "there are no weights at model"),
        (["evaluate", ".", "none", "--out", "run"], "none does not exist or is not a folder"),
        (["evaluate", ".", ".", "--out", "model.safetensors"], "is a file, and a folder is wanted"),
        (["evaluate", ".", ".", "--out", "run", "--cache", TAKEN], TAKEN_WORDS),
        (["predict", "model", "none.avi"], "there are no weights at model"),
        (["predict", ".", "none.avi"], "none.avi does not exist"),
        (["predict", ".", ".", "--device", "gpu"], "no device 'gpu'"),
        (["predict", ".", ".", "--out", "a.txt"], "must end in .csv or .json"),
        (["predict", ".", ".", "--out", "a.csv", "--form", "json"], "does not go with --out a.csv"),
        (["predict", ".", ".", "--pictures", "model.safetensors"], "and a folder is wanted"),
        (["export", "model", "--out", "run"], "there are no weights at model"),
        (["data", "index", ".", "--out", "."], "is a folder, and a file is wanted"),
        (["data", "doctor", ".", "--out", "model.safetensors/x"], "model.safetensors is a file"),
        (["data", "store", "m.parquet", "--out", TAKEN], TAKEN_WORDS),
        (["data", "export-split", "m.parquet", "--out", TAKEN], TAKEN_WORDS),
    ],
)
def test_what_is_not_there_is_refused_before_torch_is_loaded(
    tmp_path: Path, words: list[str], said: str
) -> None:
    """What only has the name of a model is not looked into yet."""
    (tmp_path / "model.safetensors").touch()
    refused_early(tmp_path, words, said)


def refused_early(place: Path, words: list[str], said: str) -> None:
    assert refused(place, words, said).strip() == "False"


def refused(place: Path, words: list[str], said: str) -> str:
    """Run a command in a process of its own; whether it had loaded torch when it ended."""
    script = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules));"
        f"sys.argv[1:] = {words!r}; from echofm_core.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=place, check=False
    )
    assert done.returncode and said in " ".join(done.stderr.split()), done.stderr
    return done.stdout


def test_a_plan_is_looked_at_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    words = (
        "import sys; import echofm_core.cli, echofm_core.plan.document, echofm_core.run_claim;"
        "print({'torch', 'pandas', 'numpy', 'flwr'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"
