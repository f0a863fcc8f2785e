"""A small network over any density of states, electronic or of phonons."""

from collections.abc import Mapping

from torch import Tensor, nn

from omnimat_phonons.encoder import CurveMlpSettings


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
