"""Studies run on one thread, as their jobs do: see `bnstudy.training.loop.make_deterministic`."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
