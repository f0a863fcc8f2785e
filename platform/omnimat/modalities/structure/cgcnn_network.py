"""CGCNN: a gated graph network on crystal graphs (Xie and Grossman, PRL 120, 145301, 2018).

It was written from the equations; the default widths are those with which MultiMat trains it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.modalities.structure.cgcnn import CgcnnSettings
from omnimat.modalities.structure.crystal_network import (
    AtomEmbedding,
    edge_index,
    fallen_off,
    pool_atoms,
    sum_at,
)
from omnimat.nn.batch_norm import BatchNorm


class Cgcnn(nn.Module):
    """Maps crystal graphs to embeddings."""

    def __init__(self, settings: CgcnnSettings, embedding_dim: int) -> None:
        super().__init__()
        self.settings = settings
        width = settings.hidden_width
        self.atoms = AtomEmbedding(width)
        self.convolutions = nn.ModuleList(
            GatedConv(width, settings.num_gaussians) for _ in range(settings.num_convolutions)
        )
        self.head = nn.Sequential(
            nn.Softplus(),
            nn.Linear(width, settings.head_width),
            nn.Softplus(),
            nn.Linear(settings.head_width, embedding_dim),
        )

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n crystals.

        Args:
            arrays: ``atomic_numbers`` (atoms,), ``edge_sources`` and ``edge_targets`` (edges,) as
                positions in the batch, ``edge_vectors_angstrom`` (edges, 3), ``num_atoms`` (n,).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        index, dtype = edge_index(arrays), self.atoms.linear.weight.dtype
        edges = self._gaussians(arrays["edge_vectors_angstrom"]).to(dtype)
        nodes = self.atoms(arrays["atomic_numbers"])
        for convolution in self.convolutions:
            nodes = convolution(nodes, index, edges)
        embeddings: Tensor = self.head(pool_atoms(nodes, arrays["num_atoms"].long()))
        return embeddings

    def _gaussians(self, edge_vectors_angstrom: Tensor) -> Tensor:
        """Expand distances d to exp(-((d - centre) / step)^2), shape (edges, num_gaussians)."""
        distances = torch.linalg.vector_norm(edge_vectors_angstrom, dim=-1, keepdim=True)
        steps = torch.arange(self.settings.num_gaussians, device=distances.device)
        return fallen_off((distances / self.settings.gaussian_step_angstrom - steps).square())


class GatedConv(nn.Module):
    """One convolution: x_i <- softplus(x_i + BN(sum_j sigmoid(a_ij) * softplus(b_ij))).

    Here (a_ij, b_ij) = BN(Linear([x_i, x_j, e_ij])).
    """

    def __init__(self, width: int, edge_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width + edge_width, 2 * width)
        self.linear_norm = BatchNorm(2 * width)
        self.norm = BatchNorm(width)

    def forward(self, nodes: Tensor, index: Tensor, edges: Tensor) -> Tensor:
        """Update nodes of shape (atoms, width) by messages along edges.

        Args:
            nodes: state of each atom, shape (atoms, width).
            index: source and target of each edge, shape (2, edges).
            edges: features of each edge, shape (edges, edge_width).
        """
        sources, targets = index
        joint = self._joint(nodes, sources, targets, edges)
        gate, core = self.linear_norm(joint).chunk(2, dim=-1)
        incoming = sum_at(torch.sigmoid(gate) * F.softplus(core), targets, len(nodes))
        return F.softplus(nodes + self.norm(incoming))

    def _joint(self, nodes: Tensor, sources: Tensor, targets: Tensor, edges: Tensor) -> Tensor:
        """Apply the linear layer to [x_i, x_j, e_ij]; what is linear in an atom, once an atom."""
        width = nodes.shape[1]
        of_target, of_source, of_edge = torch.split(
            self.linear.weight, [width, width, edges.shape[1]], 1
        )
        joint = F.linear(edges, of_edge, self.linear.bias)
        joint += F.linear(nodes, of_target).index_select(0, targets)
        joint += F.linear(nodes, of_source).index_select(0, sources)
        return joint
