import numpy as np
import pytest
import torch

from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.runtime.errors import EnvironmentClashError
from echofm_core.training.config import Precision
from echofm_core.training.execution.devices import autocast, find_device
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.objectives.pretrain import pretrain_round
from tests.training.site import PLAN, context


def test_auto_finds_something_and_cpu_is_exact() -> None:
    assert find_device("auto").type in ("cpu", "cuda")
    left, right = torch.full((2, 2), 1.001), torch.ones(2, 2)
    with autocast(find_device("cpu")):
        assert (left @ right).dtype is torch.float32


@pytest.mark.parametrize(
    ("device", "precision", "product"),
    [
        ("cpu", Precision.AUTO, torch.float32),
        ("cpu", Precision.FP32, torch.float32),
        ("cpu", Precision.BF16, torch.bfloat16),
    ],
)
def test_products_are_in_the_asked_precision(
    device: str, precision: Precision, product: torch.dtype
) -> None:
    with autocast(torch.device(device), precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is product


@pytest.mark.filterwarnings("ignore:CUDA is not available", "ignore:User provided device_type")
@pytest.mark.parametrize(
    ("precision", "half"),
    [(Precision.AUTO, True), (Precision.FP32, False), (Precision.BF16, True)],
)
def test_on_a_gpu_auto_is_bf16(precision: Precision, half: bool) -> None:
    """Without one, torch switches autocast off again, so what was asked is read beforehand."""
    context = autocast(torch.device("cuda"), precision)
    assert context.fast_dtype is torch.bfloat16
    assert context._enabled is (half and torch.cuda.is_available())


def test_bf16_on_a_cpu_gives_the_same_features_and_not_to_the_bit() -> None:
    """Eight bits of mantissa: from the same weights, features differ by some percent of their norm.

    Whole rounds are not compared: the first steps of AdamW follow the gradient's sign alone, and
    processors round differently.
    """
    encoder = build_echo_model(PLAN).encoder
    video = torch.rand(2, PLAN.data.frames, 1, PLAN.data.size, PLAN.data.size)
    exact = encoder(video)
    with autocast(torch.device("cpu"), Precision.BF16):
        rounded = encoder(video).float()
    error = (rounded - exact).norm() / exact.norm()
    assert 1e-6 < error < 0.05


def test_rounds_in_bf16_on_a_cpu_keep_their_weights_in_fp32(clips: ClipWindows) -> None:
    change = {"precision": Precision.BF16}
    model, autoencoder = build_echo_model(PLAN), build_autoencoder(PLAN)
    reports = (
        finetune_round(model, clips, PLAN.finetune.model_copy(update=change), context()),
        pretrain_round(autoencoder, clips, PLAN.pretrain.model_copy(update=change), context()),
    )
    for report, trained in zip(reports, (model, autoencoder), strict=True):
        assert np.isfinite(report.metrics["loss"])
        assert all(item.dtype is torch.float32 for item in trained.parameters())


@pytest.mark.parametrize("name", ["toaster", "cuda:99"])
def test_a_device_that_is_not_there_says_what_to_use(name: str) -> None:
    with pytest.raises(EnvironmentClashError, match="use auto, cpu"):
        find_device(name)
