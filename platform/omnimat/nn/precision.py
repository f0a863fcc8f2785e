"""Linear maps that stay in single precision where bfloat16 would round the physics away."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def at_least_single(dtype: torch.dtype) -> torch.dtype:
    """Widen a half-precision dtype to float32 and leave float32 and float64 alone."""
    return torch.promote_types(dtype, torch.float32)


class SinglePrecisionLinear(nn.Linear):
    """``nn.Linear`` for raw physical numbers: never below float32, also under autocast.

    An energy of -45.3 eV has a spacing of 0.25 eV in bfloat16; embedding it in that precision
    would blur the spectrum. Output (..., out_features) in float32 (float64 for float64 weights).
    """

    def forward(self, values: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        dtype = at_least_single(self.weight.dtype)
        with torch.autocast(values.device.type, enabled=False):
            return F.linear(values.to(dtype), self.weight.to(dtype), self.bias.to(dtype))
