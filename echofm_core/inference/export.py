"""A model as one ONNX file: grey frames in, natural units out, checked against PyTorch."""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from echofm_core.data.windows import MEAN, SD
from echofm_core.models.masking import Subset
from echofm_core.models.saved import SavedModel
from echofm_core.models.weights_file import WEIGHTS, find_weights
from echofm_core.runtime.errors import CheckpointError, EnvironmentClashError
from echofm_core.runtime.extras import install
from echofm_core.runtime.files import whole_file, write_whole
from echofm_core.tasks import TASKS, Task, TaskKind
from echofm_core.training.objectives.targets import Standardisation

ONNX = "model.onnx"
#: Largest difference between ONNX Runtime and PyTorch, relative to values above 1.
TOLERANCE = 1e-4
#: Batches that the check runs, so that the first axis is shown to be free.
BATCHES = (1, 3)
#: In the order of the file; the last where the model reads the sector alone.
INPUTS = ("frames", "times", "sector")


class Predictor(nn.Module):
    """The model with its normalisation before it and its units behind it.

    Args:
        saved: A model; its trained tasks alone are given out.
    """

    def __init__(self, saved: SavedModel) -> None:
        super().__init__()
        self.model = saved.model
        self.tasks = saved.tasks
        self.scaling = saved.plan.finetune.standardisation

    def forward(
        self, frames: Tensor, times: Tensor, sector: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Predict.

        Args:
            frames: Float32 (B, T, S, S), grey levels 0 to 255, zero outside the sector.
            times: Float32 (B, T), seconds from the window's start.
            sector: Bool (B, S, S), True inside the ultrasound sector; of a model that reads the
                whole square, None.

        Returns:
            For each task (B,) percent, ml or a probability; (B, classes) probabilities.
        """
        # A graph has no shape that depends on what is in the picture: all positions are computed,
        # and those outside the sector are read by none.
        region = None if sector is None else Subset.masked(self.model.encoder.seen(sector))
        outputs = self.model(((frames / 255 - MEAN) / SD).unsqueeze(2), times, region)
        return tuple(_in_units(task, outputs[task], self.scaling) for task in self.tasks)


def export_folder(saved: SavedModel, source: Path, out: Path, *, onnx: bool) -> float | None:
    """Copy weights and card into a folder of their own, with an ONNX file if asked for.

    Args:
        saved: The model at ``source``.
        source: Where it was loaded from.
        out: Folder to write.
        onnx: Write ``model.onnx`` and ``model.onnx.json``, which says what goes in and out.

    Returns:
        The largest difference between ONNX Runtime and PyTorch; None without ONNX.

    Raises:
        EnvironmentClashError: The packages of the extra ``onnx`` are not installed.
        CheckpointError: The ONNX file does not give what PyTorch gives; it is not kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = find_weights(source)
    write_whole(out / WEIGHTS, file.read_bytes())
    card = file.with_name("README.md")
    if card.is_file():
        write_whole(out / card.name, card.read_bytes())
    if not onnx:
        return None
    worst = _write_onnx(saved, out / ONNX)
    write_whole(out / f"{ONNX}.json", _interface(saved).encode())
    return worst


def _write_onnx(saved: SavedModel, path: Path) -> float:
    """Write the file and check it; returns the largest difference found."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise EnvironmentClashError(
            f"ONNX needs the package {error.name}; {install('onnx')}."
        ) from None
    predictor = Predictor(saved).eval()
    example = _example(saved, 2)
    free = tuple({0: torch.export.Dim.DYNAMIC} for _ in example)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            predictor,
            example,
            dynamo=True,
            input_names=INPUTS[: len(example)],
            output_names=[task.value for task in saved.tasks],
            dynamic_shapes=free,
            verbose=False,
        )
    assert program is not None
    with whole_file(path) as partial:
        program.save(partial)
        session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])
        worst = max(_difference(predictor, session, _example(saved, size)) for size in BATCHES)
        if not worst <= TOLERANCE:
            raise CheckpointError(
                f"the ONNX file differs from PyTorch by {worst:.2g}, {TOLERANCE:g} is allowed; it "
                "was not kept: use the safetensors file."
            )
    return worst


def _in_units(task: Task, output: Tensor, scaling: Standardisation) -> Tensor:
    """As ``targets.to_units``, in operations that a graph can hold."""
    spec = TASKS[task]
    if spec.kind is TaskKind.MULTICLASS:
        return output.softmax(dim=1)
    if spec.kind is TaskKind.BINARY:
        return output[:, 0].sigmoid()
    mean, sd = scaling[task]
    scaled = output[:, 0] * sd + mean
    # Both bounds of one kind: a graph cannot hold an integer beside a float.
    return (scaled.exp() if spec.log else scaled).clamp(float(spec.low), float(spec.high))


def _example(saved: SavedModel, batch: int) -> tuple[Tensor, ...]:
    """Noise over every grey level, at the plan's shape, in sectors of several sizes."""
    data = saved.plan.data
    draw = torch.Generator().manual_seed(batch)
    shape = (batch, data.frames, data.size, data.size)
    frames = torch.randint(0, 256, shape, generator=draw).float()
    seconds = data.window_seconds or 1.0
    times = torch.linspace(0, seconds, data.frames).repeat(batch, 1)
    if not saved.plan.model.sector_only:
        return frames, times
    sides = torch.linspace(data.size / 2, data.size, batch).reshape(-1, 1)
    inside = torch.arange(data.size) < sides
    sector = inside.unsqueeze(1) & inside.unsqueeze(2)
    return frames * sector.unsqueeze(1), times, sector


@torch.inference_mode()
def _difference(predictor: Predictor, session: object, example: tuple[Tensor, ...]) -> float:
    """Largest difference over all outputs, relative where the value is above 1."""
    fed = {name: value.numpy() for name, value in zip(INPUTS, example, strict=False)}
    theirs = session.run(None, fed)  # type: ignore[attr-defined]
    ours = [output.numpy() for output in predictor(*example)]
    return max(
        float((np.abs(one - other) / np.maximum(1, np.abs(other))).max())
        for one, other in zip(theirs, ours, strict=True)
    )


def _interface(saved: SavedModel) -> str:
    """What goes in and what comes out, for whoever has the file alone."""
    data = saved.plan.data
    units = {task.value: TASKS[task].unit or "probability" for task in saved.tasks}
    inputs = {
        "frames": {
            "shape": ["batch", data.frames, data.size, data.size],
            "type": "float32",
            "is": "grey levels 0 to 255, letterboxed to the square, 0 outside the sector",
        },
        "times": {
            "shape": ["batch", data.frames],
            "type": "float32",
            "is": "seconds from the window's start",
        },
        "sector": {
            "shape": ["batch", data.size, data.size],
            "type": "bool",
            "is": "True inside the ultrasound sector; patches that do not touch it are not read",
        },
    }
    if not saved.plan.model.sector_only:
        del inputs["sector"]
    return json.dumps(
        {
            "inputs": inputs,
            "outputs": units,
            "window_seconds": data.window_seconds,
            "plan_hash": saved.plan.digest(),
            "digest": saved.digest,
            "not": "a medical device",
        },
        indent=1,
    )
