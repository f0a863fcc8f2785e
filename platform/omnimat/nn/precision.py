"""Single precision where bfloat16 would round physical quantities too coarsely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.base.precision import Precision


def at_least_single(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for a half-precision dtype, and float32 and float64 unchanged."""
    return torch.promote_types(dtype, torch.float32)


def widened(values: Tensor) -> Tensor:
    """Return the values in at least single precision."""
    return values.to(at_least_single(values.dtype))


@contextmanager
def fast_products(enabled: bool = True) -> Iterator[None]:
    """Let float32 be multiplied in bfloat16 or TF32, where the processor can do that, or forbid it.

    It counts for products of matrices and for convolutions, which torch multiplies in TF32 on a GPU
    unless it is forbidden. All else, and what is stored, stays in float32. It holds for the whole
    process.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    _set_products("medium" if enabled else "highest", enabled)
    try:
        yield
    finally:
        _set_products(*before)


def exact_products() -> AbstractContextManager[None]:
    """Multiply float32 in float32, whatever was allowed outside the context."""
    return fast_products(enabled=False)


def warn_of_emulation(precision: Precision, device: torch.device) -> None:
    """Print that a processor computes in bfloat16 only by way of float32, where it is known to.

    A product of matrices then takes some five times as long as in float32 (oneDNN with AVX-512).
    """
    if precision == "bf16" and device.type == "cpu" and _only_emulates_bfloat16():
        print(
            "omnimat: precision: this processor has no instructions for bfloat16, so that bf16 "
            "takes several times as long as fp32; write fp32 or fast_fp32",
            flush=True,
        )


def _only_emulates_bfloat16() -> bool:
    """Say whether the processor is known to lack the instructions; of others nothing is known."""
    can = torch.cpu.get_capabilities()
    is_known = can["architecture"] == "x86_64"
    return is_known and not (can["avx512_bf16"] or can["amx_bf16"])


def may_be_reduced(weight: Tensor) -> bool:
    """Say whether products with a weight are now, or may be, multiplied in less than float32."""
    return (
        at_least_single(weight.dtype) != weight.dtype
        or torch.is_autocast_enabled(weight.device.type)
        or torch.get_float32_matmul_precision() != "highest"
    )


def _set_products(of_matrices: str, of_convolutions: bool) -> None:
    torch.set_float32_matmul_precision(of_matrices)
    torch.backends.cudnn.allow_tf32 = of_convolutions


@contextmanager
def single_precision(device: torch.device) -> Iterator[None]:
    """Compute in float32 or better inside, also under autocast and where products may be fast.

    In a compiled network products are what was allowed when it was compiled.
    """
    products = nullcontext() if torch.compiler.is_compiling() else exact_products()
    with torch.autocast(device.type, enabled=False), products:
        yield


class SinglePrecisionLinear(nn.Linear):
    """``nn.Linear`` for raw physical quantities: never below float32, even under autocast.

    Near an energy of -45.3 eV, neighbouring bfloat16 numbers are 0.25 eV apart, so embedding an
    energy in that precision would blur the spectrum. The output has shape (..., out_features) and
    is float32 (float64 for float64 weights).
    """

    def forward(self, values: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        dtype = at_least_single(self.weight.dtype)
        with single_precision(values.device):
            return F.linear(values.to(dtype), self.weight.to(dtype), self.bias.to(dtype))
