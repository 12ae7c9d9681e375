"""Peers without their numbers, for what is decided by names and shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn


def shapes_of(make: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """A peer's state dict on the meta device."""
    with torch.device("meta"):
        return make().state_dict()


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small images gain nothing from threads, which wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
