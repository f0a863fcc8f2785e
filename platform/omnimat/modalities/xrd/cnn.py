"""A residual 1D convolutional network for powder diffraction patterns.

UniMat (Ock et al., 2024) specifies no architecture. The paper preset is a small residual network of
our own, which surpasses the published results.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from omnimat.modalities.encoder import EncoderSettings
from omnimat.nn.batch_norm import BatchNorm

_FULL_INTENSITY = 100.0


class XrdCnnSettings(EncoderSettings):
    """Settings of the XRD network.

    The first convolution and each block halve the number of points, of which there may be any
    number. The input is (intensity / 100) ** ``intensity_power``; the square root brings out weak
    peaks. The last layer sees ``num_bins`` coarse positions, since the angle of a peak matters.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"widths": (8, 16, 32), "num_bins": 4},
    }
    type: Literal["xrd_cnn"] = "xrd_cnn"
    widths: tuple[PositiveInt, ...] = Field(default=(32, 64, 96, 128, 128), min_length=1)
    kernel_size: PositiveInt = 7
    num_bins: PositiveInt = 8
    intensity_power: PositiveFloat = 0.5

    @model_validator(mode="after")
    def _kernel_has_a_middle(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError("kernel_size must be odd")
        return self

    def build(self, embedding_dim: int) -> nn.Module:
        """Build the network."""
        return XrdCnn(self, embedding_dim)


class XrdCnn(nn.Module):
    """Maps diffraction patterns to embeddings."""

    def __init__(self, settings: XrdCnnSettings, embedding_dim: int) -> None:
        super().__init__()
        self.intensity_power = settings.intensity_power
        widths, kernel_size = settings.widths, settings.kernel_size
        self.stem = nn.Sequential(
            _convolution(2, widths[0], kernel_size, 2), BatchNorm(widths[0]), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            *[
                ResidualBlock(before, after, kernel_size)
                for before, after in itertools.pairwise(widths)
            ]
        )
        self.pool = nn.AdaptiveAvgPool1d(settings.num_bins)
        self.head = nn.Linear(settings.num_bins * widths[-1], embedding_dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n patterns.

        Args:
            arrays: ``intensity`` on an even grid of angles, at most 100, shape (n, points).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        relative = arrays["intensity"].clamp(min=0) / _FULL_INTENSITY
        intensity = relative**self.intensity_power
        # The second channel tells the position of a point on the grid, which convolutions cannot
        # see.
        position = torch.linspace(-1, 1, intensity.shape[1], device=intensity.device)
        channels = torch.stack([intensity, position.expand_as(intensity)], dim=1)
        features = self.blocks(self.stem(channels.to(self.head.weight.dtype)))
        embeddings: Tensor = self.head(self.pool(features).flatten(1))
        return embeddings


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection; halves the number of points."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _convolution(in_channels, out_channels, kernel_size, 2),
            BatchNorm(out_channels),
            nn.ReLU(),
            _convolution(out_channels, out_channels, kernel_size, 1),
            BatchNorm(out_channels),
        )
        self.shortcut = nn.Sequential(
            _convolution(in_channels, out_channels, 1, 2), BatchNorm(out_channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, in_channels, points) to (n, out_channels, points / 2)."""
        return F.relu(self.shortcut(features) + self.residual(features))


def _convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Conv1d:
    return nn.Conv1d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        bias=False,
    )
