"""A small network over any density of states, electronic or of phonons."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from omnimat.modalities.encoder import EncoderSettings


class CurveMlpSettings(EncoderSettings):
    """Settings of the network; it serves two modalities."""

    modalities: ClassVar[tuple[str, ...]] = ("dos", "phonon_dos")
    presets: ClassVar[Mapping[str, Mapping[str, int]]] = {"paper": {}, "tiny": {"width": 16}}

    type: Literal["curve_mlp"] = "curve_mlp"
    num_points: int = 51
    width: int = 64

    def build(self, embedding_dim: int) -> nn.Module:
        """Build the network."""
        return CurveMlp(self, embedding_dim)


class CurveMlp(nn.Module):
    """Curve to embedding."""

    def __init__(self, settings: CurveMlpSettings, embedding_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(settings.num_points, settings.width),
            nn.Tanh(),
            nn.Linear(settings.width, embedding_dim),
        )

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n curves: (n, num_points) to (n, embedding_dim)."""
        curve = arrays["dos_per_ev"].to(self.layers[0].weight.dtype)
        embeddings: Tensor = self.layers(curve)
        return embeddings
