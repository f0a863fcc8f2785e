"""Projectors between an encoder and the loss, as in CLaC (arXiv 2502.16451)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from omnimat.nn.batch_norm import BatchNorm


class Projector(nn.Module):
    """A residual block: LayerNorm(Linear(x) + Linear(ReLU(BN(Linear(x))))).

    The shortcut starts as the identity, so that training starts near the encoder's own embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Linear(width, width, bias=False),
            BatchNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
        )
        self.shortcut = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        nn.init.eye_(self.shortcut.weight)
        nn.init.zeros_(self.shortcut.bias)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map (n, width) to the same shape."""
        projected: Tensor = self.norm(self.shortcut(embeddings) + self.residual(embeddings))
        return projected


class ProjectedEncoder(nn.Module):
    """An encoder followed by a projector; the pair is trained, exported and used to embed.

    Attributes:
        encoder: encoder that maps arrays to shape (n, embedding_dim).
        projector: projector into the space in which modalities are compared with each other.
    """

    def __init__(self, encoder: nn.Module, embedding_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = Projector(embedding_dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n materials as vectors of shape (n, embedding_dim)."""
        projected: Tensor = self.projector(self.encoder(arrays))
        return projected
