"""The settings of a residual 1D convolutional network for powder diffraction patterns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from omnimat.modalities.encoder import EncoderSettings


class XrdCnnSettings(EncoderSettings):
    """Settings of the XRD network.

    The first convolution takes every ``stem_stride``-th point, and each block halves their number,
    which may be any. The input is (intensity / 100) ** ``intensity_power``; the square root brings
    out weak peaks. The last layer sees ``num_bins`` coarse positions, since the angle of a peak
    matters.

    Attributes:
        widths: number of channels of the first convolution and of each block.
        kernel_size: number of points that a convolution spans; odd.
        stem_stride: the step of the first convolution, which spans two steps at least. A fine grid
            costs most there; a stride of 4 with more channels keeps what peaks of a few points
            tell. Typical: 2 to 4.
        num_bins: number of coarse positions that the last layer sees.
        intensity_power: power of the relative intensity that is the input.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"widths": (8, 16, 32), "num_bins": 4},
    }
    network: ClassVar[str] = "omnimat.modalities.xrd.cnn_network:XrdCnn"
    has_fixed_shapes: ClassVar[bool] = True
    type: Literal["xrd_cnn"] = "xrd_cnn"
    widths: tuple[PositiveInt, ...] = Field(default=(32, 64, 96, 128, 128), min_length=1)
    kernel_size: PositiveInt = 7
    stem_stride: PositiveInt = 2
    num_bins: PositiveInt = 8
    intensity_power: PositiveFloat = 0.5

    @model_validator(mode="after")
    def _kernel_has_a_middle(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError("kernel_size must be odd")
        return self
