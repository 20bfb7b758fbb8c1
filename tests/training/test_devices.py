import pytest
import torch

from echofm_core.data.windows import ClipWindows
from echofm_core.errors import EnvironmentClashError
from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.training.config import Precision
from echofm_core.training.devices import autocast, find_device
from echofm_core.training.finetune import finetune_round
from echofm_core.training.predict import predict
from echofm_core.training.pretrain import pretrain_round
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


def test_rounds_in_bf16_on_a_cpu(clips: ClipWindows) -> None:
    """Eight bits of mantissa: losses agree to some percent and not to the bit; weights are fp32."""
    losses = []
    for precision in (Precision.FP32, Precision.BF16):
        change = {"precision": precision}
        model = build_echo_model(PLAN)
        config = PLAN.finetune.model_copy(update=change)
        tuned = finetune_round(model, clips, config, context())
        assert all(item.dtype is torch.float32 for item in model.parameters())
        table = predict(model, clips, config, batch_size=8, device="cpu")
        assert table["prediction"].notna().all()
        masked = pretrain_round(
            build_autoencoder(PLAN), clips, PLAN.pretrain.model_copy(update=change), context()
        )
        losses.append([tuned.metrics["loss"], masked.metrics["loss"]])
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert losses[1][0] != losses[0][0]
    assert losses[1][1] != losses[0][1]


@pytest.mark.parametrize("name", ["toaster", "cuda:99"])
def test_a_device_that_is_not_there_says_what_to_use(name: str) -> None:
    with pytest.raises(EnvironmentClashError, match="use auto, cpu"):
        find_device(name)
