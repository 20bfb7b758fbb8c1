"""The whole predictor in every form."""

import pytest
import torch
from torch import nn

from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.models.config import StfNetForm
from echofm_core.tasks import Task
from tests.models.small import small_plan, times, videos

FORMS = list(StfNetForm)


@pytest.mark.parametrize("form", FORMS)
def test_each_task_gets_its_outputs_near_zero(form: StfNetForm) -> None:
    """Zero is the population mean in standardised units and an even chance as a logit."""
    predicted = build_echo_model(small_plan(form))(videos(3), times(3))
    assert {task: tuple(out.shape) for task, out in predicted.items()} == {
        Task.EF: (3, 1),
        Task.REDUCED_EF: (3, 1),
        Task.AS_GRADE: (3, 5),
    }
    assert all(0 < out.abs().max() < 0.2 for out in predicted.values())


@pytest.mark.parametrize("form", FORMS)
def test_batch_of_one_equals_batch_of_many(form: StfNetForm) -> None:
    model, video, seconds = build_echo_model(small_plan(form)).eval(), videos(3), times(3)
    with torch.no_grad():
        together = model(video, seconds)
        for i in range(3):
            alone = model(video[i : i + 1], seconds[i : i + 1])
            for task, predicted in alone.items():
                torch.testing.assert_close(predicted[0], together[task][i], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_no_model_holds_a_batch_norm(form: StfNetForm) -> None:
    layers = [*build_echo_model(small_plan(form)).modules()]
    layers += build_autoencoder(small_plan(form)).modules()
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in layers)


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_is_trained_by_some_task(form: StfNetForm) -> None:
    """Nothing is dead weight: a random loss reaches every array."""
    model = build_echo_model(small_plan(form))
    sum(out.square().sum() for out in model(videos(2), times(2)).values()).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_weights_predict_what_float32_weights_do(form: StfNetForm) -> None:
    model = build_echo_model(small_plan(form))
    with torch.no_grad():
        full = model(videos(2), times(2))[Task.EF]
        half = model.to(torch.bfloat16)(videos(2).bfloat16(), times(2))[Task.EF]
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), full, atol=0.01, rtol=0.1)


def test_an_empty_batch_gives_empty_predictions() -> None:
    predicted = build_echo_model(small_plan())(videos(0), times(0))
    assert predicted[Task.AS_GRADE].shape == (0, 5)


@pytest.mark.parametrize("form", [StfNetForm.COMPACT, StfNetForm.PUBLISHED, StfNetForm.MEAN_POOL])
def test_the_compact_form_alone_reads_the_stages_below_the_last(form: StfNetForm) -> None:
    """With the last block's output held fixed, a change below it shows in the compact form only."""
    model, video, seconds = build_echo_model(small_plan(form)).eval(), videos(1), times(1)
    with torch.no_grad():
        fixed = model.encoder.blocks[-1](torch.randn(1, 64, model.encoder.width))
        model.encoder.blocks[-1].register_forward_hook(lambda *_: fixed)
        before = model.features(video, seconds)
        after = model.features(video.flip(-1), seconds)
    assert torch.equal(before, after) is (form is not StfNetForm.COMPACT)
