from collections.abc import Iterator

import pytest
import torch

from echofm_core.data.windows import ClipWindows
from tests.training.site import make_site


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipWindows:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
