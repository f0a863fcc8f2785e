"""A residual 1D convolutional network for powder diffraction patterns.

UniMat (Ock et al., 2024) specifies no architecture. The paper preset is a small residual network of
our own, which surpasses the published results.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.modalities.xrd.cnn import XrdCnnSettings
from omnimat.nn.batch_norm import BatchNorm

_FULL_INTENSITY = 100.0


class XrdCnn(nn.Module):
    """Maps diffraction patterns to embeddings."""

    def __init__(self, settings: XrdCnnSettings, embedding_dim: int) -> None:
        super().__init__()
        self.intensity_power = settings.intensity_power
        widths, kernel_size = settings.widths, settings.kernel_size
        stride = settings.stem_stride
        self.stem = nn.Sequential(
            convolution(2, widths[0], max(kernel_size, 2 * stride + 1), stride),
            BatchNorm(widths[0]),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, kernel_size)
            for before, after in itertools.pairwise(widths)
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
        features = self.stem(channels.to(self.head.weight.dtype))
        for block in self.blocks:
            features = block(features)
        embeddings: Tensor = self.head(self.pool(features).flatten(1))
        return embeddings


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection; halves the number of points."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            convolution(in_channels, out_channels, kernel_size, 2),
            BatchNorm(out_channels),
            nn.ReLU(),
            convolution(out_channels, out_channels, kernel_size, 1),
            BatchNorm(out_channels),
        )
        self.shortcut = nn.Sequential(
            convolution(in_channels, out_channels, 1, 2), BatchNorm(out_channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, in_channels, points) to (n, out_channels, points / 2)."""
        return F.relu(self.shortcut(features) + self.residual(features))


def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Conv1d:
    """Return a convolution that keeps the number of points, but for its stride."""
    return nn.Conv1d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        bias=False,
    )
