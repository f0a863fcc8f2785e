"""Single precision where bfloat16 would round physical quantities too coarsely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def at_least_single(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for a half-precision dtype, and float32 and float64 unchanged."""
    return torch.promote_types(dtype, torch.float32)


def widened(values: Tensor) -> Tensor:
    """Return the values in at least single precision."""
    return values.to(at_least_single(values.dtype))


@contextmanager
def fast_products(enabled: bool = True) -> Iterator[None]:
    """Let matrices of float32 be multiplied in bfloat16 or TF32, where the processor can do that.

    All else, and what is stored, stays in float32. It holds for the whole process.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if enabled else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class SinglePrecisionLinear(nn.Linear):
    """``nn.Linear`` for raw physical quantities: never below float32, even under autocast.

    Near an energy of -45.3 eV, neighbouring bfloat16 numbers are 0.25 eV apart, so embedding an
    energy in that precision would blur the spectrum. The output has shape (..., out_features) and
    is float32 (float64 for float64 weights).
    """

    def forward(self, values: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        dtype = at_least_single(self.weight.dtype)
        with torch.autocast(values.device.type, enabled=False):
            return F.linear(values.to(dtype), self.weight.to(dtype), self.bias.to(dtype))
