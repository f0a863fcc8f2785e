"""A residual 1D network on a pattern's logarithmic axis, and on the distances of its lines."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from omnimat.modalities.xrd.cnn_network import ResidualBlock, convolution
from omnimat.modalities.xrd.lattice_cnn import AngleGrid, XrdLatticeCnnSettings
from omnimat.nn.batch_norm import BatchNorm
from omnimat.nn.precision import single_precision, widened

_FULL_INTENSITY = 100.0
_LEAST_DEGREE = 3.0  # below, no laboratory sees a line, and the logarithm would have no end
_LEAST_POWER = 1e-12  # of a pattern that is the same everywhere
_NUM_SQUARES = 2048  # points of an even axis of squares; a line has a width of two to four


class XrdLatticeCnn(nn.Module):
    """Maps diffraction patterns to embeddings."""

    def __init__(self, settings: XrdLatticeCnnSettings, embedding_dim: int) -> None:
        super().__init__()
        widths, stride = settings.widths, settings.stem_stride
        self.axes = LatticeAxes(settings.grid, settings.num_points)
        self.intensity_power = settings.intensity_power
        self.scale = BatchNorm(2)
        self.stem = nn.Sequential(
            convolution(3, widths[0], max(settings.kernel_size, 2 * stride + 1), stride),
            BatchNorm(widths[0]),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, settings.kernel_size)
            for before, after in itertools.pairwise(widths)
        )
        self.pool = nn.AdaptiveAvgPool1d(settings.num_bins)
        self.head = nn.Linear(settings.num_bins * widths[-1], embedding_dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n patterns.

        Args:
            arrays: ``intensity`` at the angles of the grid, at most 100, shape (n, points).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        relative = widened(arrays["intensity"]).clamp(min=0) / _FULL_INTENSITY
        with single_precision(relative.device):
            seen = self.scale(self.axes(relative**self.intensity_power))
        position = torch.linspace(-1, 1, seen.shape[2], device=seen.device)
        channels = torch.cat([seen, position.expand_as(seen[:, :1])], dim=1)
        features = self.stem(channels.to(self.head.weight.dtype))
        for block in self.blocks:
            features = block(features)
        embeddings: Tensor = self.head(self.pool(features).flatten(1))
        return embeddings


class LatticeAxes(nn.Module):
    """Puts a pattern, and its autocorrelation, on the logarithm of squared reciprocal lengths."""

    def __init__(self, grid: AngleGrid, num_points: int) -> None:
        super().__init__()
        first, step = grid.start_degree, grid.step_degree
        least, most = _square(max(first, _LEAST_DEGREE)), _square(first + step * grid.num_points)
        logarithmic = np.geomspace(least, most, num_points + 1)
        even = np.linspace(0, most, _NUM_SQUARES + 1)
        # A value of the grid stands for a step around its angle.
        along_log, along_squares = (
            (_degree(edges) - first) / step + 0.5 for edges in (logarithmic, even)
        )
        self.to_logarithmic = Averaged(along_log, grid.num_points)
        self.to_squares = Averaged(along_squares, grid.num_points)
        self.lags_to_logarithmic = Averaged(logarithmic * (_NUM_SQUARES / most), _NUM_SQUARES)

    def forward(self, curves: Tensor) -> Tensor:
        """Map (n, points) to (n, 2, num_points): the pattern, and its correlation."""
        together = autocorrelation(self.to_squares(curves))
        return torch.stack([self.to_logarithmic(curves), self.lags_to_logarithmic(together)], dim=1)


class Averaged(nn.Module):
    """Averages values from edge to edge, wherever these lie; beyond the ends values are 0.

    Where edges are closer than values, each value holds for a step around it.
    """

    def __init__(self, edges: NDArray[np.float64], num_values: int) -> None:
        super().__init__()
        inside = edges.clip(0, num_values)
        left = np.minimum(inside.astype(np.int64), num_values - 1)
        self.register_buffer("left", torch.from_numpy(left), persistent=False)
        self.register_buffer("part", torch.from_numpy(inside - left), persistent=False)
        self.register_buffer("widths", torch.from_numpy(np.diff(edges)), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Map (n, num_values) to (n, edges - 1)."""
        left, part, widths = (
            cast(Tensor, getattr(self, name)) for name in ("left", "part", "widths")
        )
        integral = F.pad(values.cumsum(dim=1), (1, 0))
        at_edges = torch.lerp(integral[:, left], integral[:, left + 1], part.to(values.dtype))
        return at_edges.diff(dim=1) / widths.to(values.dtype)


def autocorrelation(values: Tensor) -> Tensor:
    """Return how much values deviate from their mean together with those a distance on.

    Args:
        values: shape (n, m).

    Returns:
        The correlation at distances 0 to m - 1, of which the first is 1, shape (n, m).
    """
    num_values = values.shape[1]
    if not len(values):
        return values  # of which no FFT is made
    spectrum = torch.fft.rfft(values - values.mean(dim=1, keepdim=True), 2 * num_values)
    power = spectrum.real.square() + spectrum.imag.square()
    together = torch.fft.irfft(power.to(spectrum.dtype), 2 * num_values)[:, :num_values]
    correlation: Tensor = together / together[:, :1].clamp(min=_LEAST_POWER)
    return correlation


def _square(angle_degree: float) -> float:
    """Return the square of sin(theta) at a scattering angle."""
    return float(np.sin(np.radians(angle_degree / 2)) ** 2)


def _degree(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scattering angle of each square of sin(theta)."""
    angles: NDArray[np.float64] = np.degrees(2 * np.arcsin(np.sqrt(squares.clip(0, 1))))
    return angles
