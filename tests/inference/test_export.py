"""The ONNX file, run by ONNX Runtime, gives what `predict` gives; what differs is not kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from echofm_core.contract import ENCODER, HEADS, LORA_A, LORA_B, STF_NET
from echofm_core.inference import export
from echofm_core.inference.export import ONNX, export_folder
from echofm_core.inference.files import read_file
from echofm_core.models.build import build_tuned_model
from echofm_core.models.config import StfNetForm
from echofm_core.models.lora import merged
from echofm_core.models.saved import load_model, save_model
from echofm_core.models.weights import named_weights, to_arrays
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import CheckpointError
from echofm_core.tasks import Task
from tests.data.files import speckle, write_avi
from tests.models.small import small_plan

TASKS = [Task.EF, Task.ESV, Task.REDUCED_EF, Task.AS_GRADE]


def saved_run(
    folder: Path,
    form: StfNetForm = StfNetForm.COMPACT,
    *,
    lora: bool = False,
    sector_only: bool = True,
) -> Path:
    """A model with every kind of head, as a run folder with a card."""
    values = small_plan(form).decisive()
    values["model"] |= {"sector_only": sector_only}
    tasks = [task.value for task in TASKS]
    # Scalings of its own: the constants would give another EF.
    scaling = {"ef": [40.0, 20.0]}
    values["finetune"] = {**values["finetune"], "tasks": tasks, "standardisation": scaling}
    if lora:
        values["finetune"] |= {"mode": "lora"}
    plan = plan_from_mapping(values, "of a test")
    model = build_tuned_model(plan)
    if lora:  # adapters that add something
        for name, parameter in named_weights(model).items():
            parameter.data.add_(0.01 * name.startswith(LORA_B))
    for head in model.heads.values():  # drawn heads are near zero; these have something to say
        for parameter in head.parameters():
            parameter.data.add_(0.1)
    weights = to_arrays(model, [ENCODER, LORA_A, LORA_B, STF_NET, HEADS])
    save_model(folder / "model", merged(weights, plan.finetune.lora), plan, TASKS)
    (folder / "model/README.md").write_text("# the card\n")
    return folder


@pytest.mark.parametrize(
    ("form", "lora", "sector_only"),
    [
        (StfNetForm.COMPACT, True, True),
        (StfNetForm.PUBLISHED, False, True),
        (StfNetForm.COMPACT, False, False),
    ],
)
def test_it_gives_what_predict_gives(
    tmp_path: Path, form: StfNetForm, lora: bool, sector_only: bool
) -> None:
    """A clip's window goes into ONNX Runtime alone; the reading comes from PyTorch.

    The file computes every place and masks those outside the sector, PyTorch takes the others out.
    """
    run = saved_run(tmp_path / "run", form, lora=lora, sector_only=sector_only)
    model = load_model(run)
    worst = export_folder(model, run, tmp_path / "out", onnx=True)
    assert worst is not None and worst <= 1e-4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "model.onnx", "model.onnx.json", "model.safetensors",
    ]  # fmt: skip
    reading = read_file(model, write_avi(tmp_path / "a.avi", speckle(20, 48, 48)), "cpu")
    assert len(reading.windows[Task.EF]) == 1
    region = model.model.encoder.region(torch.from_numpy(reading.first.sector[None]))
    assert (region is not None) is sector_only
    session = onnxruntime.InferenceSession(tmp_path / "out" / ONNX)
    fed = {
        "frames": reading.first.frames[None].astype(np.float32),
        "times": reading.first.times[None],
    } | ({"sector": reading.first.sector[None]} if sector_only else {})
    names = [output.name for output in session.get_outputs()]
    for name, values in zip(names, session.run(None, fed), strict=True):
        np.testing.assert_allclose(values, reading.windows[Task(name)], rtol=1e-4, atol=1e-4)
    told = json.loads((tmp_path / "out/model.onnx.json").read_text())
    assert set(told["inputs"]) == set(fed) == {each.name for each in session.get_inputs()}
    assert told["outputs"] == {
        "ef": "%", "esv": "ml", "reduced_ef": "probability", "as_grade": "probability",
    }  # fmt: skip
    assert load_model(tmp_path / "out").digest == model.digest


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tolerance that nothing meets, and weights without a card."""
    run = saved_run(tmp_path / "run", StfNetForm.MEAN_POOL)
    (run / "model/README.md").unlink()
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(CheckpointError, match="differs from PyTorch"):
        export_folder(load_model(run), run, tmp_path / "out", onnx=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.safetensors"]
    assert export_folder(load_model(run), run, tmp_path / "plain", onnx=False) is None
