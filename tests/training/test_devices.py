import pytest
import torch

from echofm_core.errors import EnvironmentClashError
from echofm_core.training.devices import autocast, find_device


def test_auto_finds_something_and_cpu_is_exact() -> None:
    assert find_device("auto").type in ("cpu", "cuda")
    left, right = torch.full((2, 2), 1.001), torch.ones(2, 2)
    with autocast(find_device("cpu")):
        assert (left @ right).dtype is torch.float32


@pytest.mark.parametrize("name", ["toaster", "cuda:99"])
def test_a_device_that_is_not_there_says_what_to_use(name: str) -> None:
    with pytest.raises(EnvironmentClashError, match="use auto, cpu"):
        find_device(name)
