"""PotNet: a crystal graph network on complete interatomic potentials.

It follows Lin et al., "Efficient Approximations of Complete Interatomic Potentials for Crystal
Property Prediction" (ICML 2023), with the output layer of MultiMat, and was written from the
equations.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.modalities.structure.batched_sums import lattice_sums
from omnimat.modalities.structure.crystal_network import (
    distinct,
    edge_index,
    fallen_off,
    owners,
    pool_atoms,
    starts_of,
    sum_at,
)
from omnimat.modalities.structure.elements import NUM_ELEMENT_FEATURES, element_table
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.nn.batch_norm import BatchNorm
from omnimat.nn.precision import SinglePrecisionLinear

_CENTRE_LIMIT = 4.0
_LOCAL_SCALE_ANGSTROM = -0.75


class PotNet(nn.Module):
    """Maps crystal graphs to embeddings."""

    element_features: Tensor

    def __init__(self, settings: PotNetSettings, embedding_dim: int) -> None:
        super().__init__()
        width = settings.hidden_width
        # Saved in checkpoints, so that another version of pymatgen cannot change a trained model.
        self.register_buffer("element_features", torch.tensor(element_table()))
        self.atoms = nn.Linear(NUM_ELEMENT_FEATURES, width)
        self.local_edges = LocalEdges(settings.num_local_centres, width)
        self.infinite_edges = InfiniteEdges(settings) if settings.lattice_sums else None
        self.convolutions = nn.ModuleList(
            PotentialConv(width) for _ in range(settings.num_convolutions)
        )
        self.head = nn.Linear(width, embedding_dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n crystals.

        Args:
            arrays: ``atomic_numbers`` (atoms,), ``edge_sources`` and ``edge_targets`` (edges,) as
                positions in the batch, ``edge_vectors_angstrom`` (edges, 3) and ``num_atoms`` (n,).
                With lattice sums also ``pair_potentials`` (pairs, 3), which lists the pairs i <= j
                of each crystal row by row, or the inputs from which they are computed:
                ``lattice_angstrom`` (n, 3, 3), ``frac_coords`` (atoms, 3) and
                ``pauli_decay_per_angstrom`` (n,).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        num_atoms = arrays["num_atoms"].long()
        index, edges, features_of = self._edges(arrays, num_atoms)
        elements = self.element_features[arrays["atomic_numbers"].long()]
        nodes = self.atoms(elements.to(self.atoms.weight.dtype))
        for convolution in self.convolutions:
            nodes = convolution(nodes, index, edges, features_of)
        embeddings: Tensor = self.head(pool_atoms(nodes, num_atoms))
        return embeddings

    def _edges(
        self, arrays: Mapping[str, Tensor], num_atoms: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Join local and infinite edges.

        Returns:
            Sources and targets, shape (2, edges); features, shape (n, width), one row for all
            edges that are equally long or have equal sums; and the row of each edge, shape
            (edges,).
        """
        local_index = edge_index(arrays)
        local, local_rows = self.local_edges(arrays["edge_vectors_angstrom"])
        if self.infinite_edges is None:
            return local_index, local, local_rows
        potentials = pair_potentials(arrays, num_atoms)
        # Of N^2 ordered pairs, N (N + 1) / 2 are stored. The shapes tell, without the device.
        num_ordered = 2 * len(potentials) - len(arrays["atomic_numbers"])
        pair_index, pairs = ordered_pairs(num_atoms, num_ordered)
        infinite, infinite_rows = self.infinite_edges(potentials, pairs)
        return (
            torch.cat([local_index, pair_index], dim=1),
            torch.cat([local, infinite.to(local.dtype)]),
            torch.cat([local_rows, infinite_rows + len(local)]),
        )


class LocalEdges(nn.Module):
    """Embeds edges to near neighbours by Gaussians of -0.75 / distance."""

    def __init__(self, num_centres: int, width: int) -> None:
        super().__init__()
        self.num_centres = num_centres
        self.linear = nn.Linear(num_centres, width)

    def forward(self, edge_vectors_angstrom: Tensor) -> tuple[Tensor, Tensor]:
        """Map (edges, 3) to features of n lengths, (n, width), and the row of each, (edges,)."""
        lengths_angstrom, rows = distinct(torch.linalg.vector_norm(edge_vectors_angstrom, dim=-1))
        return self.of_lengths(lengths_angstrom), rows

    def of_lengths(self, lengths_angstrom: Tensor) -> Tensor:
        """Map lengths, shape (n,), to features of shape (n, width)."""
        offsets = centre_offsets(_LOCAL_SCALE_ANGSTROM / lengths_angstrom, self.num_centres)
        basis = fallen_off(offsets.square())
        return F.silu(self.linear(basis.to(self.linear.weight.dtype)))


class InfiniteEdges(nn.Module):
    """Embeds the infinite sums by multiquadrics of their weighted total."""

    def __init__(self, settings: PotNetSettings) -> None:
        super().__init__()
        self.coefficients = settings.potential_coefficients
        self.num_centres = settings.num_infinite_centres
        self.linear = SinglePrecisionLinear(self.num_centres, settings.hidden_width)
        self.norm = BatchNorm(settings.hidden_width)

    def forward(self, potentials: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Embed the pairs of atoms by n different totals.

        Args:
            potentials: lattice sums of each stored pair, shape (stored, 3).
            pairs: stored pair of each ordered pair, shape (ordered,). The statistics of the batch
                are over the ordered pairs.

        Returns:
            The features, shape (n, width), and the row of each ordered pair, shape (ordered,).
        """
        totals, rows_of_stored = distinct(self.totals(potentials))
        rows = rows_of_stored.index_select(0, pairs)
        counts = totals.new_zeros(len(totals)).index_add(0, rows, totals.new_ones(len(rows)))
        return self.norm(self.embedded(totals), counts), rows

    def totals(self, potentials: Tensor) -> Tensor:
        """Return the weighted total of each pair's sums, (pairs, 3) to (pairs,)."""
        # Not written as a matrix product, which autocast would compute in half precision.
        return torch.as_tensor(sum(c * potentials[:, k] for k, c in enumerate(self.coefficients)))

    def embedded(self, totals: Tensor) -> Tensor:
        """Map totals, shape (n,), to features before they are normalised, shape (n, width)."""
        offsets = centre_offsets(totals, self.num_centres)
        return F.softplus(self.linear(torch.sqrt(1 + offsets.square())))


class PotentialConv(nn.Module):
    """One convolution: x_i <- relu(x_i + BN(sum_j sigmoid(BN(a(z_ij))) * b(z_ij))).

    Here z_ij = [x_i, x_j, e_ij], and a and b are each Linear, SiLU, Linear. The first Linear of
    both is split into one part for each of x_i, x_j and e_ij, so that the parts for x are computed
    once per atom, and that for e once for all edges that share it. The result is the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.from_target = nn.Linear(width, 2 * width)
        self.from_source = nn.Linear(width, 2 * width, bias=False)
        self.from_edge = nn.Linear(width, 2 * width, bias=False)
        self.gate = nn.Linear(width, width)
        self.gate_norm = BatchNorm(width)
        self.content = nn.Linear(width, width)
        self.norm = BatchNorm(width)
        bound = (3 * width) ** -0.5  # torch's default for the unsplit Linear(3 * width, ...)
        for linear in (self.from_target, self.from_source, self.from_edge):
            for parameter in linear.parameters():
                nn.init.uniform_(parameter, -bound, bound)

    def forward(self, nodes: Tensor, index: Tensor, edges: Tensor, features_of: Tensor) -> Tensor:
        """Update nodes of shape (atoms, width) by messages along edges.

        Args:
            nodes: state of each atom, shape (atoms, width).
            index: source and target of each edge, shape (2, edges).
            edges: features that edges share, shape (n, width).
            features_of: row of each edge's features, shape (edges,).
        """
        sources, targets = index
        joint = self.from_edge(edges).index_select(0, features_of)
        joint += self.from_target(nodes).index_select(0, targets)
        joint += self.from_source(nodes).index_select(0, sources)
        gate, content = F.silu(joint).chunk(2, dim=-1)
        openness = torch.sigmoid(self.gate_norm(self.gate(gate)))
        incoming = sum_at(openness * self.content(content), targets, len(nodes))
        updated: Tensor = F.relu(nodes + self.norm(incoming))
        return updated


def pair_potentials(arrays: Mapping[str, Tensor], num_atoms: Tensor) -> Tensor:
    """Return the lattice sums of the pairs i <= j, shape (pairs, 3).

    They come from the featurizer or, where it left them out, are computed here.
    """
    if "pair_potentials" in arrays:
        return arrays["pair_potentials"]
    cells, decays = arrays["lattice_angstrom"], arrays["pauli_decay_per_angstrom"]
    sums = lattice_sums(cells, arrays["frac_coords"], num_atoms, decays)
    return sums.to(arrays["edge_vectors_angstrom"].dtype)


def ordered_pairs(num_atoms: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Expand the stored pairs i <= j of each crystal to all N^2 ordered pairs.

    Args:
        num_atoms: number N of atoms of each crystal, int64 of shape (n,).
        total: sum N^2, which the caller knows without asking the device.

    Returns:
        The positions of source and target of each ordered pair, shape (2, sum N^2), and the
        position of its unordered pair among the sum N (N + 1) / 2 stored ones, shape (sum N^2,).
    """
    num_ordered, num_stored = num_atoms.square(), num_atoms * (num_atoms + 1) // 2
    crystals = owners(num_ordered, total)
    size = num_atoms[crystals]
    within = torch.arange(len(crystals), device=size.device) - starts_of(num_ordered)[crystals]
    i, j = within // size, within % size
    low, high = torch.minimum(i, j), torch.maximum(i, j)
    stored = starts_of(num_stored)[crystals] + low * size - low * (low - 1) // 2 + high - low
    return torch.stack([j, i]) + starts_of(num_atoms)[crystals], stored


def centre_offsets(values: Tensor, num_centres: int) -> Tensor:
    """Return offsets from k evenly spaced centres on [-4, 4], in units of their spacing.

    Args:
        values: values, shape (m,).
        num_centres: number k of centres.

    Returns:
        The offset of each value from each centre, shape (m, k).
    """
    centres = torch.linspace(
        -_CENTRE_LIMIT, _CENTRE_LIMIT, num_centres, device=values.device, dtype=values.dtype
    )
    return (values[:, None] - centres) * ((num_centres - 1) / (2 * _CENTRE_LIMIT))
