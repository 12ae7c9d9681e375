"""The ExecuTorch backend: `.pte` files for phones, computed by XNNPACK."""

from archc.backends.executorch.backend import BACKEND

__all__ = ["BACKEND"]
