"""A 3D ResNeXt-50 for charge densities (Hara et al., CVPR 2018), as in MultiMat."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.modalities.charge_density.resnext import DensityResNeXtSettings, Padding
from omnimat.nn.batch_norm import BatchNorm

_EXPANSION = 2


class DensityResNeXt(nn.Module):
    """Maps charge densities on a grid to embeddings."""

    def __init__(self, settings: DensityResNeXtSettings, embedding_dim: int) -> None:
        super().__init__()
        channels, self.padding = settings.stem_channels, settings.padding
        self.stem = nn.Conv3d(
            1, channels, 7, stride=2, padding=3, bias=False, padding_mode=settings.padding
        )
        self.stem_norm = BatchNorm(channels)
        blocks: list[Bottleneck] = []
        for stage, num_blocks in enumerate(settings.stages):
            for position in range(num_blocks):
                stride = 2 if stage > 0 and position == 0 else 1
                blocks.append(Bottleneck(channels, settings.width * 2**stage, stride, settings))
                channels = blocks[-1].out_channels
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(channels, embedding_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n charge densities.

        Args:
            arrays: ``density`` on the fractional grid, shape (n, points, points, points).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        density = arrays["density"].unsqueeze(1).to(self.stem.weight.dtype)
        features = _max_pool(F.relu(self.stem_norm(self.stem(density))), self.padding)
        if features.is_cuda:  # whose convolutions multiply the channels of a point side by side
            features = features.contiguous(memory_format=torch.channels_last_3d)
        for block in self.blocks:
            features = block(features)
        embeddings: Tensor = self.head(features.mean(dim=(2, 3, 4)))
        return embeddings


class Bottleneck(nn.Module):
    """1x1x1, grouped 3x3x3 and 1x1x1 convolutions with a skip connection (shortcut type B)."""

    def __init__(
        self, in_channels: int, width: int, stride: int, settings: DensityResNeXtSettings
    ) -> None:
        super().__init__()
        self.out_channels = _EXPANSION * width
        grouped = nn.Conv3d(
            width,
            width,
            3,
            stride=stride,
            padding=1,
            groups=settings.cardinality,
            bias=False,
            padding_mode=settings.padding,
        )
        self.residual = nn.Sequential(
            nn.Conv3d(in_channels, width, 1, bias=False),
            BatchNorm(width),
            nn.ReLU(inplace=True),
            grouped,
            BatchNorm(width),
            nn.ReLU(inplace=True),
            nn.Conv3d(width, self.out_channels, 1, bias=False),
            BatchNorm(self.out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != self.out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv3d(in_channels, self.out_channels, 1, stride=stride, bias=False),
                BatchNorm(self.out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, in_channels, x, y, z) to (n, out_channels, x / stride, ...)."""
        return F.relu(self.shortcut(features) + self.residual(features))


def _max_pool(features: Tensor, padding: Padding) -> Tensor:
    if padding == "zeros":
        return F.max_pool3d(features, 3, stride=2, padding=1)
    return F.max_pool3d(F.pad(features, (1,) * 6, mode="circular"), 3, stride=2)
