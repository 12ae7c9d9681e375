"""The libraries that every prediction needs."""

from __future__ import annotations

from typing import Final

from archc.extras import require

_NEEDED: Final = ("torch", "numpy", "PIL", "torchvision", "safetensors")
"""In an order in which none needs a later one."""


def check_libraries() -> None:
    """Import what every prediction needs.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    for name in _NEEDED:
        require(name, "predict")
