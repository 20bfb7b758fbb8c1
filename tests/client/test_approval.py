"""A hospital reads a plan, approves it for its installed code, and takes the approval back."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner, Result

from client import approval
from client.approval import FILE, read_approvals, record_approval, require_approval, withdraw
from client.commands import client
from echofm_core.contract import DECODER, ENCODER, HEADS, STF_NET
from echofm_core.models.build import build_autoencoder, build_tuned_model
from echofm_core.models.weights import to_arrays
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from echofm_core.runtime.errors import OutputError, PlanError, PolicyError
from echofm_core.runtime.installed_code import PACKAGES, code_digest
from server.kit import Kit
from server.provision import hand_out
from tests.federation.small import TRAIN, build_sites, small_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hospital with clips."""
    folder = tmp_path_factory.mktemp("north")
    built = build_sites(folder, ("alpha",))[0]
    places = {"manifest": str(built.manifest), "store": str(built.store), "state": "state"}
    site = {"name": "alpha", "server": "fl:443", **places, "policy": {"min_patients": 1}}
    (folder / "site.toml").write_text(tomli_w.dumps(site))
    return folder


def proposed(plan: Plan, folder: Path) -> Path:
    """The file that a coordinator hands out."""
    return hand_out(Kit(folder / "fed"), plan)


def asked(*words: object, answer: str = "") -> Result:
    return CliRunner().invoke(client, [str(word) for word in words], input=answer)


def test_what_is_handed_out_has_the_plans_digest_and_no_path(tmp_path: Path) -> None:
    """The coordinator's ``[machine]`` stays there."""
    for path in sorted(Path("examples").glob("*.toml")):
        plan = load_plan(path)
        handed = proposed(plan, tmp_path)
        assert handed.name == f"{plan.run_name()}.toml"
        assert load_plan(handed).digest() == plan.digest()
        assert "machine" not in handed.read_text()


def test_a_hospital_reads_before_it_approves(folder: Path, tmp_path: Path) -> None:
    """Sizes are those of the arrays that leave; two batches and a rest are three steps."""
    pretrain = {"rounds": 2, "batch_size": 2, "share_decoder": True}
    linear = {"rounds": 1, "mode": "linear", "tasks": ["ef"]}
    plan = small_plan(pretrain=pretrain, finetune=linear)
    file = proposed(plan, tmp_path)
    said = asked("approve", folder, file, answer="n\n")
    assert said.exit_code == 1 and not (folder / FILE).exists(), "only a yes approves"
    words = said.stdout
    assert f"plan     {plan.run_name()}, hash {plan.digest()}" in words
    steps = -(-TRAIN["alpha"] // 2)
    assert f"pretrain 2 rounds; here {steps} steps a round of 2 clips, over " in words
    assert "finetune 1 round; here 3 steps a round" in words
    for model, groups in (
        (build_autoencoder(plan), [ENCODER, DECODER]),
        (build_tuned_model(plan), [HEADS]),
    ):
        size = sum(array.nbytes for array in to_arrays(model, groups).values())
        assert f"({size:,} bytes) in fp32" in words
    assert f"{STF_NET} 0" not in words, "linear probing leaves it as it is"
    assert "tasks    ef; mode linear" in words
    assert "privacy  none: weights leave without noise" in words
    assert "tests    on this site's test patients, at most 10 in the run" in words
    assert "policy   REFUSED whatever is approved: this site's policy has groups = " in words
    assert asked("approve", folder).stdout == "no plan is approved here\n"


def test_a_folder_without_permission_is_refused_before_anybody_reads(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a superuser the system always says yes."""
    plan, before = proposed(small_plan(), tmp_path), read_approvals(folder)
    monkeypatch.setattr(os, "access", lambda place, how: how == os.R_OK)
    result = asked("approve", folder, plan, answer="y\n")
    assert isinstance(result.exception, OutputError) and not result.output
    assert read_approvals(folder) == before


def test_a_hospital_reads_which_groups_stay(folder: Path, tmp_path: Path) -> None:
    """Sizes are those of what is left of each group."""
    plan = small_plan(personal={"groups": ["heads", "norms"]})
    words = asked("approve", folder, proposed(plan, tmp_path), answer="n\n").stdout
    shared = {
        name: array.size
        for name, array in to_arrays(build_tuned_model(plan), [ENCODER, STF_NET]).items()
        if "norm" not in name
    }
    assert f"({4 * sum(shared.values()):,} bytes) in fp32" in words
    assert "decoder, heads of fine-tuning, norms of fine-tuning" in words
    plan = small_plan(personal={"groups": ["heads"], "share_final": True})
    words = asked("approve", folder, proposed(plan, tmp_path), answer="n\n").stdout
    assert "leaves once, at the end: heads" in words
    assert "heads of fine-tuning until the end" in words


def test_an_approval_is_recorded_listed_and_withdrawn(folder: Path, tmp_path: Path) -> None:
    plan, other = small_plan(), small_plan(finetune={"rounds": 1})
    said = asked("approve", folder, proposed(plan, tmp_path), answer="y\n")
    assert said.exit_code == 0 and "policy   allows it" in said.stdout
    assert asked("approve", folder, proposed(other, tmp_path), "--yes").exit_code == 0
    listed = asked("approve", folder).stdout.splitlines()
    assert [line.partition(":")[0] for line in listed] == [plan.run_name(), other.run_name()]
    assert all(f"code {code_digest()[:12]} of version" in line for line in listed)
    require_approval(folder, plan)
    assert asked("withdraw-approval", folder, plan.run_name()).exit_code == 0
    with pytest.raises(PolicyError, match=f"has not approved the plan {plan.run_name()}"):
        require_approval(folder, plan)
    require_approval(folder, other)
    withdraw(folder, other.digest()[:8])
    with pytest.raises(PlanError, match=r"0 approved plans are called 'small', .* none"):
        withdraw(folder, "small")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"finetune": {"mode": "lora", "rounds": 1}}, "lora_a and lora_b "),
        (
            {"federation": {"aggregation": "scaffold", "wire": "fp16"}},
            "in fp16, with control variates in fp32",
        ),
        (
            {"privacy": {"kind": "local", "epsilon": 3.0, "delta": 1e-3}},
            "epsilon 3 at delta 0.001 for each patient, over the run; noise from the operating",
        ),
        (
            {"federation": {"aggregation": "custom", "rule": "r.py", "rule_sha256": "a" * 64}},
            f"rule     the coordinator's own, r.py, SHA-256 {'a' * 64}: it runs there alone",
        ),
        ({"finetune": {"label_fraction": 0.25}}, "; labels of 0.25 of the labelled patients"),
        ({"finetune": {"rounds": 0}}, "tasks    none: no label is read for training"),
    ],
)
def test_what_is_special_is_said(
    folder: Path, tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    plan = small_plan(**changes)
    assert line in asked("approve", folder, proposed(plan, tmp_path), answer="n\n").stdout


def test_without_clips_the_rest_is_said(tmp_path: Path) -> None:
    site = {"name": "a", "server": "fl:443", "manifest": "m", "store": "s", "state": "t"}
    (tmp_path / "site.toml").write_text(tomli_w.dumps(site))
    said = asked("approve", tmp_path, proposed(small_plan(), tmp_path), "--yes")
    assert said.exit_code == 0 and "3 steps a round (clips here are not counted: " in said.stdout


def test_an_update_of_the_package_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_approval(tmp_path, small_plan())
    monkeypatch.setattr(approval, "code_digest", lambda: "f" * 64)
    with pytest.raises(PolicyError, match=r"for the code \w{12} .* now has f{12} .* approve again"):
        require_approval(tmp_path, small_plan())
    (listed,) = read_approvals(tmp_path).values()
    assert "the code has changed since" in listed.line()
    record_approval(tmp_path, small_plan())
    require_approval(tmp_path, small_plan())


def test_a_damaged_file_approves_nothing(tmp_path: Path) -> None:
    record_approval(tmp_path, small_plan())
    whole = json.loads((tmp_path / FILE).read_text())
    for text in ("[", "[1]", json.dumps([{**whole[0], "more": 1}]), json.dumps([{}])):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(PolicyError, match="so no plan is approved"):
            require_approval(tmp_path, small_plan())


@pytest.mark.parametrize("package", PACKAGES)
def test_each_byte_and_name_of_the_code_counts(package: str, tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("x = 1\n")
    before = code_digest(tmp_path)
    shutil.copytree(tmp_path / package, tmp_path / package / "__pycache__")
    assert code_digest(tmp_path) == before, "compiled copies do not count"
    file = tmp_path / package / "a.py"
    file.write_text("x = 2\n")
    assert code_digest(tmp_path) != before
    file.write_text("x = 1\n")
    assert code_digest(tmp_path) == before
    file.rename(file.with_name("b.py"))
    assert code_digest(tmp_path) != before
