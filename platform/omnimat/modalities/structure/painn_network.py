"""PaiNN: equivariant message passing with scalars and vectors on every atom.

It follows Schütt, Unke and Gastegger, "Equivariant message passing for the prediction of tensorial
properties and molecular spectra" (ICML 2021), in the sizes that CLaC (arXiv 2502.16451) trains, and
was written from the equations. CLaC's released code scales v in the update; here it is Uv, as in
the equations.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnimat.modalities.structure.crystal_network import (
    AtomEmbedding,
    edge_index,
    lengths_and_directions,
    pool_atoms,
    sum_at,
)
from omnimat.modalities.structure.painn import PaiNNSettings
from omnimat.nn.precision import widened

# Vectors vanish on atoms at inversion centres, where the gradient of their length is undefined.
_NORM_EPSILON = 1e-8


class PaiNN(nn.Module):
    """Maps crystal graphs to embeddings."""

    def __init__(self, settings: PaiNNSettings, embedding_dim: int) -> None:
        super().__init__()
        self.settings = settings
        width = settings.hidden_width
        self.atoms = AtomEmbedding(width)
        self.messages = nn.ModuleList(
            Message(width, settings.num_radial) for _ in range(settings.num_layers)
        )
        self.updates = nn.ModuleList(Update(width) for _ in range(settings.num_layers))
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, embedding_dim)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n crystals.

        Args:
            arrays: ``atomic_numbers`` (atoms,), ``edge_sources`` and ``edge_targets`` (edges,) as
                positions in the batch, ``edge_vectors_angstrom`` (edges, 3), ``num_atoms`` (n,).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        scalars, _ = self.atom_states(arrays)
        return pool_atoms(self.head(scalars), arrays["num_atoms"].long(), self.settings.pool)

    def atom_states(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the scalars and vectors of each atom; the vectors rotate with the crystal.

        Args:
            arrays: same as for ``forward``.

        Returns:
            The scalars, shape (atoms, width), and the vectors, shape (atoms, 3, width).
        """
        index, dtype = edge_index(arrays), self.atoms.linear.weight.dtype
        distances_angstrom, directions = lengths_and_directions(
            arrays["edge_vectors_angstrom"], self.settings.cutoff_angstrom
        )
        directions = directions.to(dtype)
        basis = self._bessel(distances_angstrom).to(dtype)
        cutoff = self._cosine(distances_angstrom).to(dtype)
        scalars = self.atoms(arrays["atomic_numbers"])
        vectors = scalars.new_zeros(len(scalars), 3, scalars.shape[1])
        for message, update in zip(self.messages, self.updates, strict=True):
            scalars, vectors = message(scalars, vectors, index, directions, basis, cutoff)
            scalars, vectors = update(scalars, vectors)
        return scalars, vectors

    def _bessel(self, distances_angstrom: Tensor) -> Tensor:
        """Expand distances d, (edges, 1), to sin(n pi d / cutoff) / d, (edges, num_radial)."""
        orders = torch.arange(1, self.settings.num_radial + 1, device=distances_angstrom.device)
        phase = torch.pi / self.settings.cutoff_angstrom * distances_angstrom
        return torch.sin(phase * orders) / distances_angstrom

    def _cosine(self, distances_angstrom: Tensor) -> Tensor:
        """Return a weight that falls from 1 at zero distance to 0 at the cutoff and beyond."""
        phase = (distances_angstrom / self.settings.cutoff_angstrom).clamp(max=1)
        return 0.5 * (torch.cos(torch.pi * phase) + 1)


class Message(nn.Module):
    """Sums over neighbours: ds_i = sum_j a_ij and dv_i = sum_j (b_ij v_j + c_ij r_ij / |r_ij|).

    Here (b_ij, a_ij, c_ij) = MLP(s_j) * Linear(radial basis) * cutoff.
    """

    def __init__(self, width: int, num_radial: int) -> None:
        super().__init__()
        self.content = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 3 * width)
        )
        self.filter = nn.Linear(num_radial, 3 * width)

    def forward(
        self,
        scalars: Tensor,
        vectors: Tensor,
        index: Tensor,
        directions: Tensor,
        basis: Tensor,
        cutoff: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Update scalars and vectors by messages along edges.

        Args:
            scalars: scalars of each atom, shape (atoms, width).
            vectors: vectors of each atom, shape (atoms, 3, width).
            index: source and target of each edge, shape (2, edges).
            directions: unit vector of each edge, shape (edges, 3).
            basis: radial basis of each edge, shape (edges, num_radial).
            cutoff: weight of each edge, which is 0 at the cutoff, shape (edges, 1).
        """
        sources, targets = index
        mixed = self.content(scalars)[sources] * (self.filter(basis) * cutoff)
        of_vector, of_scalar, of_direction = mixed.unsqueeze(1).chunk(3, dim=-1)
        to_vectors = of_vector * vectors[sources] + of_direction * directions[..., None]
        incoming = sum_at(torch.cat([of_scalar, to_vectors], dim=1), targets, len(scalars))
        return scalars + incoming[:, 0], vectors + incoming[:, 1:]


class Update(nn.Module):
    """Mixes the channels of an atom: ds = a + b <Uv, Vv> and dv = c Uv.

    Here (c, b, a) = MLP([s, |Vv|]).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left = nn.Linear(width, width, bias=False)
        self.right = nn.Linear(width, width, bias=False)
        self.gates = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 3 * width)
        )

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Update scalars of shape (atoms, width) and vectors of shape (atoms, 3, width)."""
        left, right = self.left(vectors), self.right(vectors)
        lengths = torch.sqrt(widened(right).square().sum(1) + _NORM_EPSILON).to(right.dtype)
        gates = self.gates(torch.cat([scalars, lengths], dim=-1))
        of_vector, of_product, added = gates.chunk(3, dim=-1)
        scalars = scalars + added + of_product * (left * right).sum(1)
        return scalars, vectors + of_vector.unsqueeze(1) * left
