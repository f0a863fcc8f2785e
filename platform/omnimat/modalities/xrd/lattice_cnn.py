"""The settings of a network that looks for the lattice behind a powder diffraction pattern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from omnimat.base.settings import Settings
from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.xrd.features import XrdPattern


class AngleGrid(Settings):
    """The scattering angles of a pattern.

    Attributes:
        start_degree: the first of them.
        step_degree: their distance.
        num_points: how many there are.
    """

    start_degree: float
    step_degree: PositiveFloat
    num_points: PositiveInt

    @classmethod
    def of(cls, pattern: XrdPattern) -> Self:
        """Return the angles of a featurizer."""
        return cls(
            start_degree=pattern.two_theta_min_degree,
            step_degree=pattern.step_degree,
            num_points=pattern.num_points,
        )


class XrdLatticeCnnSettings(EncoderSettings):
    """Settings of a network that looks for the lattice.

    The square of a reciprocal length, which is that of sin(theta), is linear in the six numbers of
    a reciprocal metric. So the network sees a pattern on the logarithm of this square, where a cell
    of another size is the same pattern elsewhere, and beside it how often two lines lie that far
    apart, which an error of the zero hardly changes. What is learned from one crystal then holds
    for many: of drawn crystals it learns the symmetry from a quarter of the patterns that the same
    layers need on the angles.

    Attributes:
        widths: number of channels of the first convolution and of each block.
        kernel_size: number of points that a convolution spans; odd.
        stem_stride: the step of the first convolution, which spans two steps at least.
        num_bins: number of coarse positions that the last layer sees.
        num_points: number of points of the logarithmic axis.
        intensity_power: power of the relative intensity that is the input.
        grid: the angles of the patterns; they are filled in from the featurizer.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"widths": (8, 16, 32), "num_bins": 4, "num_points": 256},
    }
    network: ClassVar[str] = "omnimat.modalities.xrd.lattice_cnn_network:XrdLatticeCnn"
    type: Literal["xrd_lattice_cnn"] = "xrd_lattice_cnn"
    widths: tuple[PositiveInt, ...] = Field(default=(32, 48, 64, 96), min_length=1)
    kernel_size: PositiveInt = 5
    stem_stride: PositiveInt = 4
    num_bins: PositiveInt = 8
    num_points: PositiveInt = 1024
    intensity_power: PositiveFloat = 0.5
    grid: AngleGrid = AngleGrid.of(XrdPattern())

    @model_validator(mode="after")
    def _kernel_has_a_middle(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError("kernel_size must be odd")
        return self

    def fitted_to(self, featurizer: Featurizer) -> Self:
        """Return the same settings with the angles of the featurizer.

        Raises:
            ValueError: the featurizer gives no pattern.
        """
        if not isinstance(featurizer, XrdPattern):
            raise ValueError(
                f"the encoder {self.type} cannot read {featurizer.type}: set featurizer.type to "
                "xrd_pattern, or choose another encoder"
            )
        return self.model_copy(update={"grid": AngleGrid.of(featurizer)})
