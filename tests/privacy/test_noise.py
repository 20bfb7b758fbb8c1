import numpy as np
import pytest
import torch
from scipy.stats import kstest

from echofm_core.privacy.mechanism import NoiseSource, stream_noise, system_noise
from echofm_core.runtime.randomness import torch_stream


def repeated() -> NoiseSource:
    return stream_noise(torch_stream(0, "here", 1, "noise"))


@pytest.mark.parametrize("source", [repeated(), system_noise])
def test_noise_is_standard_normal(source: NoiseSource) -> None:
    """Kolmogorov-Smirnov; a sound generator fails one run in a million."""
    drawn = source(torch.empty(301, 99))
    assert drawn.shape == (301, 99)
    assert drawn.dtype is torch.float32
    assert kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-6
    halves = drawn.flatten()[:29_798].reshape(2, -1).numpy()
    assert abs(np.corrcoef(halves)[0, 1]) < 0.05


def test_a_stream_repeats_and_the_system_does_not() -> None:
    like = torch.empty(5)
    assert torch.equal(repeated()(like), repeated()(like))
    assert not torch.equal(system_noise(like), system_noise(like))
