"""The seam between the IR and the backends: each one can run all that the IR can say, and none knows another."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import get_args

import pytest

from archc.api import BACKENDS
from archc.ir import Op, ops
from archc.language.values import Activation


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(BACKENDS[request.param])


def all_operations() -> set[type[Op]]:
    return {kind for kind in vars(ops).values() if isinstance(kind, type) and issubclass(kind, Op)} - {Op, ops.Input}


def test_every_backend_runs_every_operation(backend: ModuleType) -> None:
    assert len(all_operations()) > 15
    assert {kind.__name__ for kind in all_operations() - backend.supported()} == set()


def test_every_backend_knows_every_activation(backend: ModuleType) -> None:
    assert set(get_args(Activation)) - backend.activations() == {"none"}
