"""How exactly networks compute."""

from typing import Literal

Precision = Literal["fp32", "fast_fp32", "bf16"]
