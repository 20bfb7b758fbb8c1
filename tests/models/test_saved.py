"""A plan that starts from weights names their digest, and refuses those of another encoder."""

import json
from pathlib import Path

import pytest

from echofm_core.contract import ENCODER, HEADS, STF_NET
from echofm_core.models.build import build_echo_model
from echofm_core.models.checkpoints.importer import import_checkpoint
from echofm_core.models.saved import load_model, save_model, start_weights
from echofm_core.models.weights import load_arrays, to_arrays
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_json
from echofm_core.run_claim import load_runnable
from echofm_core.runtime import array_files as files
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, PlanError
from echofm_core.tasks import Task
from tests.models.checkpoints.made import SEEN, pretrained, write
from tests.models.small import small_plan

MODEL = "size = 'tiny'\npatch = 8\nposition_grid = [4, 4, 4]\n"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An import with the decoder, and a last norm."""
    folder = tmp_path_factory.mktemp("weights")
    import_checkpoint(write(folder / "a.pt", pretrained().state_dict()), folder / "in", SEEN)
    return folder / "in"


def plan_of(folder: Path, start: str, model: str = MODEL, size: int = 64) -> Plan:
    path = folder / "plan.toml"
    path.write_text(
        f"[data]\nsize = {size}\nframes = 8\n[model]\n{model}[machine]\nstart = '{start}'\n"
    )
    return load_runnable(path)


def test_the_digest_of_the_weights_is_part_of_the_plans(weights: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, str(weights))
    assert plan.model.start == digest(files.load(weights / "model.safetensors"))
    unstarted = plan.model_copy(update={"model": plan.model.model_copy(update={"start": ""})})
    assert unstarted.digest() != plan.digest()
    assert plan_from_json(plan.to_json()).digest() == plan.digest(), "it travels to the sites"


def test_where_the_weights_lie_is_not(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(weights)
    plan = plan_of(tmp_path, "here")
    assert plan.machine.start == str(tmp_path / "here")
    assert plan.digest() == plan_of(tmp_path, str(weights)).digest()


def test_the_arrays_of_the_groups_that_are_asked_for(weights: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, str(weights))
    whole = files.load(weights / "model.safetensors")
    encoder = start_weights(plan.model, plan.machine)
    assert digest(encoder) == digest({k: v for k, v in whole.items() if k.startswith("encoder.")})
    assert digest(start_weights(plan.model, plan.machine, ["encoder", "decoder"])) == digest(whole)
    load_arrays(build_echo_model(plan), encoder)


def test_a_plan_without_a_start_has_none() -> None:
    plan = small_plan()
    assert start_weights(plan.model, plan.machine) == {}


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (MODEL.replace("tiny", "small"), "model.size = tiny, the plan small"),
        (MODEL.replace("8", "16"), "model.patch = 8, the plan 16"),
        (MODEL + "final_norm = false\n", "model.final_norm = True, the plan False"),
        (
            MODEL.replace("[4, 4, 4]", "[4, 2, 2]"),
            r"model.position_grid = \[4, 4, 4\], the plan \[4, 2, 2\]",
        ),
        # Without a word the positions would be those of the plan's own 8 x 8 tokens.
        (MODEL.replace("[4, 4, 4]", "[]"), r"position_grid = \[4, 4, 4\], the plan \[4, 8, 8\]"),
    ],
)
def test_weights_of_another_encoder_are_refused(
    weights: Path, tmp_path: Path, model: str, sentence: str
) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        plan_of(tmp_path, str(weights), model)


def test_a_grid_that_is_the_plans_own_need_not_be_said(weights: Path, tmp_path: Path) -> None:
    """32 pixels in patches of 8 are the 4 x 4 that the weights saw."""
    plan = plan_of(tmp_path, str(weights), MODEL.replace("[4, 4, 4]", "[]"), size=32)
    assert plan.model.start


def test_other_weights_than_the_plan_names(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"starts from weights 0{12}, but machine.start holds"):
        plan_of(tmp_path, str(weights), f"{MODEL}start = '{'0' * 64}'\n")


def test_a_finished_run_can_be_read_without_its_start(weights: Path, tmp_path: Path) -> None:
    pinned = f"{MODEL}start = '{'a' * 64}'\n"
    plan = plan_of(tmp_path, "gone", pinned)
    assert plan.model.start == "a" * 64
    with pytest.raises(CheckpointError, match=r"no weights at .*gone"):
        start_weights(plan.model, plan.machine)
    with pytest.raises(CheckpointError, match=r"no weights at .*gone"):
        plan_of(tmp_path, "gone")
    nowhere = plan_of(tmp_path, "", pinned)
    with pytest.raises(CheckpointError, match=r"say where they lie with machine\.start"):
        start_weights(nowhere.model, nowhere.machine)


def test_weights_that_were_changed_are_noticed(weights: Path, tmp_path: Path) -> None:
    arrays = {**files.load(weights / "model.safetensors")}
    header = files.load_metadata(weights / "model.safetensors")
    arrays["encoder.norm.bias"] = arrays["encoder.norm.bias"] + 1
    files.save(arrays, tmp_path / "in" / "model.safetensors", header)
    plan = plan_of(tmp_path, "in")
    with pytest.raises(CheckpointError, match="are not those that the plan starts from"):
        start_weights(plan.model, plan.machine)


def test_weights_that_do_not_say_what_they_are(tmp_path: Path) -> None:
    files.save({}, tmp_path / "in" / "model.safetensors", {"digest": "x"})
    with pytest.raises(CheckpointError, match="does not say how it was made"):
        plan_of(tmp_path, "in")


def test_a_model_of_an_earlier_run_will_do(tmp_path: Path) -> None:
    """A run folder, whose model's grid is its own."""
    plan = small_plan()
    arrays = to_arrays(build_echo_model(plan), ["encoder", "stf_net", "heads"])
    save_model(tmp_path / "run" / "model", arrays, plan, plan.finetune.tasks)
    mine = plan_of(tmp_path, "run", "size = 'tiny'\npatch = 8\n", size=32)
    assert mine.model.start == digest(arrays)
    assert {name.partition(".")[0] for name in start_weights(mine.model, mine.machine)} == {
        "encoder"
    }


def test_a_model_keeps_the_scale_that_it_was_trained_with(tmp_path: Path) -> None:
    """Its plan names it, and is no plan of another scale, whatever is the default later.

    Plans of earlier versions named what differs from EchoNet-Dynamic's numbers alone.
    """
    plan = small_plan()
    weights = to_arrays(build_echo_model(plan), [ENCODER, STF_NET, HEADS])
    save_model(tmp_path, weights, plan, [Task.EF])
    assert load_model(tmp_path).plan == plan
    file = tmp_path / "model.safetensors"
    header = files.load_metadata(file)
    saved = json.loads(header["plan"])
    assert saved["finetune"]["standardisation"] == {
        "ef": [55.0, 12.0], "esv": [3.7, 0.5], "edv": [4.5, 0.4]
    }  # fmt: skip
    saved["finetune"]["standardisation"] = {"esv": [3.5, 0.5]}
    files.save(weights, file, {**header, "plan": json.dumps(saved)})
    assert load_model(tmp_path).plan.finetune.standardisation == {
        Task.EF: (55.8, 12.4), Task.ESV: (3.5, 0.5), Task.EDV: (4.41, 0.44)
    }  # fmt: skip
