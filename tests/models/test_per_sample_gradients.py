"""Opacus' per-sample gradients equal those of one sample at a time: the ground of DP-SGD."""

from collections.abc import Callable

import pytest
import torch
from opacus.grad_sample import GradSampleModule
from opacus.validators import ModuleValidator
from torch import Tensor, nn

from echofm_core.contract import LORA_B, group_of
from echofm_core.models.build import (
    build_autoencoder,
    build_echo_model,
    build_latent_predictor,
    build_tuned_model,
)
from echofm_core.models.config import StfNetForm
from echofm_core.models.latent_predictor import LatentPredictor
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.models.masked_predictor import MaskedPredictor
from echofm_core.models.masking import Masks
from echofm_core.models.weights import named_weights
from echofm_core.training.config import TuneMode
from echofm_core.training.steps.optimizer import trainable
from tests.models.small import everywhere, generator, sectors, small_plan, times, videos

BATCH = 3


def per_sample(model: nn.Module, losses: Callable[[slice], Tensor]) -> dict[str, Tensor]:
    """Gradient of each sample's loss alone, stacked, by parameter name."""
    gradients: dict[str, list[Tensor]] = {name: [] for name in trainable(model)}
    for i in range(BATCH):
        model.zero_grad()
        losses(slice(i, i + 1)).sum().backward()
        for name, parameter in trainable(model).items():
            assert parameter.grad is not None, name
            gradients[name].append(parameter.grad.clone())
    model.zero_grad()
    return {name: torch.stack(rows) for name, rows in gradients.items()}


def check(model: nn.Module, losses: Callable[[slice], Tensor]) -> None:
    assert ModuleValidator.validate(model) == []
    expected = per_sample(model, losses)
    hooked = GradSampleModule(model, loss_reduction="sum", strict=True)
    losses(slice(0, BATCH)).sum().backward()
    for name, parameter in trainable(model).items():
        scale = expected[name].abs().max()
        error = (parameter.grad_sample - expected[name]).abs().max()
        assert error <= 1e-4 * scale + 1e-7, f"{name}: {error} of {scale}"
    hooked.remove_hooks()


@pytest.mark.parametrize("sector", [everywhere(BATCH), sectors(BATCH)])
@pytest.mark.parametrize("form", list(StfNetForm))
def test_fine_tuning(form: StfNetForm, sector: Tensor) -> None:
    """Also where samples see unlike numbers of tokens: what fills a batch up has no gradient."""
    model, video, seconds = build_echo_model(small_plan(form)), videos(BATCH), times(BATCH)

    def losses(part: slice) -> Tensor:
        predicted = model(video[part], seconds[part], model.encoder.region(sector[part])).values()
        return torch.cat([(out - 1).square() for out in predicted], dim=1).sum(dim=1)

    check(model, losses)


def test_adapters() -> None:
    """With B drawn too, so that A's gradient is not zero."""
    plan = small_plan()
    tuned = plan.finetune.model_copy(update={"mode": TuneMode.LORA})
    model = build_tuned_model(plan.model_copy(update={"finetune": tuned}))
    for name, parameter in named_weights(model).items():
        if group_of(name) == LORA_B:
            torch.nn.init.normal_(parameter, std=0.1, generator=generator())
    video, seconds = videos(BATCH), times(BATCH)

    def losses(part: slice) -> Tensor:
        predicted = model(video[part], seconds[part], None).values()
        return torch.cat([(out - 1).square() for out in predicted], dim=1).sum(dim=1)

    check(model, losses)


class FixedMasks(MaskedPredictor):
    """Takes its masks from a table, so that a sample alone gets those it had in the batch."""

    table: Masks
    part: slice

    def draw(self, *_: object) -> Masks:
        return self.table.rows(self.part)


class FixedPixels(FixedMasks, MaskedAutoencoder):
    """Of pixels."""


class FixedLatents(FixedMasks, LatentPredictor):
    """Of latent targets, whose teacher has no gradient."""


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (build_autoencoder(small_plan()), FixedPixels),
        (build_latent_predictor(small_plan()), FixedLatents),
    ],
)
def test_pre_training(model: MaskedPredictor, kind: type[FixedMasks]) -> None:
    video, sector = videos(BATCH), sectors(BATCH)
    table = model.draw(sector, generator())
    model.__class__ = kind
    assert isinstance(model, FixedMasks)
    model.table = table

    def losses(part: slice) -> Tensor:
        model.part = part
        return model(video[part], sector[part], generator())

    check(model, losses)
