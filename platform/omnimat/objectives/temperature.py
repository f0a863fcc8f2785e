"""The temperature of a contrastive loss, fixed or learned, with a floor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from omnimat.base.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor


class TemperatureSettings(Settings):
    """The number by which similarities are divided.

    Attributes:
        initial: the value at the start. 0.2 is the default of the released MultiMat code (the paper
            gives none); CLIP starts at 0.07.
        learnable: whether training changes it.
        minimum: the floor of a learned temperature; CLIP's is 0.01.
    """

    initial: float = Field(default=0.2, gt=0)
    learnable: bool = False
    minimum: float = Field(default=0.01, gt=0)

    @model_validator(mode="after")
    def _starts_above_floor(self) -> Self:
        if self.initial < self.minimum:
            raise ValueError(f"initial {self.initial} is below minimum {self.minimum}")
        return self

    def inverse_temperature(self, logit_scale: Tensor) -> Tensor:
        """Turn the parameter into the factor of the similarities, at most ``1 / minimum``.

        Args:
            logit_scale: the natural logarithm of the inverse temperature.

        Returns:
            The factor, of the same shape, in float32 or better.

        The floor is for the value only. The gradient passes as if there were no floor, or else a
        parameter that once fell below it could never come back.
        """
        from omnimat.nn.precision import widened

        logit_scale = widened(logit_scale)
        floored = logit_scale.clamp(max=-math.log(self.minimum))
        return (logit_scale + (floored - logit_scale).detach()).exp()
