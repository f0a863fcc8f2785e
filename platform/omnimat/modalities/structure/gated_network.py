"""The network of ``gated.py``.

Everything that is linear in an atom is computed once an atom and only then gathered to the edges;
what depends on the geometry alone is computed once a crystal. Each layer passes over the edges
once. Nothing is normalised over a batch, so a crystal's embedding is its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.modalities.structure.crystal_network import (
    AtomEmbedding,
    crystal_of_atom,
    edge_index,
    fallen_off,
    lengths_and_directions,
    pool_atoms,
)
from omnimat.modalities.structure.elements import MAX_ATOMIC_NUMBER
from omnimat.modalities.structure.gated import GatedGraphSettings
from omnimat.modalities.structure.gated_sum import gated_sum
from omnimat.modalities.structure.ghosts import with_ghosts
from omnimat.modalities.structure.legendre import legendre_sums
from omnimat.nn.precision import may_be_reduced

# Keeps a sum over some 16 neighbours at the size of its terms.
_MESSAGE_SCALE = 0.25
# So three angles of 80 degrees count as acute by 0.9999, and right angles as neither.
_ACUTENESS = 1e3
# Longer lattice vectors are beyond the last Gaussian, and told apart less and less.
LONGEST_ANGSTROM = 32.0
NUM_LENGTHS, NUM_COSINES = 48, 16


class GatedGraph(nn.Module):
    """Maps crystal graphs to embeddings."""

    def __init__(self, settings: GatedGraphSettings, embedding_dim: int) -> None:
        super().__init__()
        self.settings = settings
        width = settings.hidden_width
        self.atoms = AtomEmbedding(width)
        # What the tables do not say of an element; nothing of those that were never seen.
        self.elements = nn.Embedding(MAX_ATOMIC_NUMBER + 1, width)
        nn.init.zeros_(self.elements.weight)
        self.edges = EdgeFeatures(settings)
        self.cell = CellFeatures(width) if settings.lattice == "cell" else None
        self.axes = AxisFeatures(settings.edge_width) if settings.lattice == "edges" else None
        self.layers = nn.ModuleList(
            GatedLayer(width, settings.edge_width, settings.expansion * width)
            for _ in range(settings.num_layers)
        )
        self.head = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, settings.expansion * width),
            nn.SiLU(),
            nn.Linear(settings.expansion * width, embedding_dim),
        )
        self.sites = _from_zero(nn.Linear(1, width, bias=False)) if settings.multiplicity else None

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n crystals.

        Args:
            arrays: ``atomic_numbers`` (atoms,), ``edge_sources`` and ``edge_targets`` (edges,) as
                positions in the batch, ``edge_vectors_angstrom`` (edges, 3), ``num_atoms`` (n,),
                with a lattice ``reduced_lattice_angstrom`` (n, 3, 3), and with multiplicity
                ``site_multiplicity`` (atoms,).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        if may_be_reduced(self.atoms.linear.weight):
            return self.of_graphs(with_ghosts(arrays))[:-1]
        return self.of_graphs(arrays)

    def of_graphs(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n crystals as they are, without ghosts; the same arguments and results."""
        atoms = self.head(self.atom_states(arrays))
        return pool_atoms(atoms, arrays["num_atoms"].long(), self.settings.pool)

    def atom_states(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Compute the state of each atom, shape (atoms, hidden_width), before the head."""
        index, numbers = edge_index(arrays), arrays["atomic_numbers"].long()
        atoms = self.atoms(numbers) + self.elements(numbers)
        if self.sites is not None:
            atoms = atoms + self.sites(arrays["site_multiplicity"][:, None].to(atoms.dtype))
        lengths, directions = lengths_and_directions(
            arrays["edge_vectors_angstrom"], self.settings.cutoff_angstrom
        )
        weights = envelope(lengths / self.settings.cutoff_angstrom)
        edges = self.edges(atoms, index, lengths, directions, weights)
        weights = weights.to(atoms.dtype)
        if self.axes is not None:
            crystals = crystal_of_atom(arrays).index_select(0, index[0])
            edges = edges + self.axes(arrays["reduced_lattice_angstrom"], directions, crystals)
        if self.cell is not None:
            atoms = atoms + self.cell(arrays).index_select(0, crystal_of_atom(arrays))
        states: Tensor = atoms
        for layer in self.layers:
            states = layer(states, index, edges, weights)
        return states


class EdgeFeatures(nn.Module):
    """Features of each edge: its length, and where it lies among the other edges of its atoms."""

    def __init__(self, settings: GatedGraphSettings) -> None:
        super().__init__()
        self.settings = settings
        num_angular = 2 * settings.num_densities * (settings.max_degree + 1)
        if settings.num_densities:
            self.by_element = nn.Linear(settings.hidden_width, settings.num_densities)
            self.by_length = nn.Linear(settings.num_radial, settings.num_densities, bias=False)
        self.mix = nn.Sequential(
            nn.Linear(settings.num_radial + num_angular, settings.edge_width),
            nn.SiLU(),
            nn.Linear(settings.edge_width, settings.edge_width),
            nn.SiLU(),
        )

    def forward(
        self, atoms: Tensor, index: Tensor, lengths: Tensor, directions: Tensor, weights: Tensor
    ) -> Tensor:
        """Compute the features, shape (edges, edge_width).

        Args:
            atoms: state of each atom, shape (atoms, hidden_width).
            index: source and target of each edge, shape (2, edges).
            lengths: length of each edge in angstrom, shape (edges, 1).
            directions: unit vector of each edge, shape (edges, 3).
            weights: envelope of each edge, shape (edges, 1).
        """
        dtype = atoms.dtype
        cutoff_angstrom, num_radial = self.settings.cutoff_angstrom, self.settings.num_radial
        radial = smeared(lengths.squeeze(-1), cutoff_angstrom, num_radial).to(dtype)
        given = [radial]
        if self.settings.num_densities:
            of_neighbor = self.by_element(atoms).index_select(0, index[1])
            parts = (self.by_length(radial) * of_neighbor).float() * weights
            given.append(legendre_sums(parts, directions, index, len(atoms), self.degree).to(dtype))
        mixed: Tensor = self.mix(torch.cat(given, dim=-1))
        return mixed

    @property
    def degree(self) -> int:
        """Highest degree of the Legendre polynomials."""
        return self.settings.max_degree


class AxisFeatures(nn.Module):
    """What an edge sees of the lattice: its angle to each of three vectors, and their lengths.

    All three go through the same layers and are added, so that it does not matter in which order
    vectors of equal length come.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_angle = nn.Linear(NUM_COSINES, width)
        self.of_length = nn.Linear(NUM_LENGTHS, width, bias=False)

    def forward(self, lattice_angstrom: Tensor, directions: Tensor, crystals: Tensor) -> Tensor:
        """Compute the features, shape (edges, width).

        Args:
            lattice_angstrom: three vectors of each crystal, shape (n, 3, 3).
            directions: unit vector of each edge, shape (edges, 3).
            crystals: crystal of each edge, shape (edges,).
        """
        lengths, axes = lengths_and_directions(lattice_angstrom, LONGEST_ANGSTROM)
        # Of a lattice vector, the sign is a choice.
        cosines = torch.einsum("exy,ey->ex", axes.index_select(0, crystals), directions).abs()
        dtype = self.of_angle.weight.dtype
        of_length = self.of_length(
            smeared(lengths.squeeze(-1), LONGEST_ANGSTROM, NUM_LENGTHS).to(dtype)
        )
        of_angle = self.of_angle(smeared(cosines, 1.0, NUM_COSINES).to(dtype))
        return F.silu(of_angle + of_length.index_select(0, crystals)).sum(1)


class CellFeatures(nn.Module):
    """Lengths of three lattice vectors, angles between them, and the number of atoms.

    Each vector goes with the angle between the other two through the same layers, and all three are
    added. A cell whose angles can all be acute is told from one whose angles cannot.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_axis = nn.Sequential(nn.Linear(NUM_LENGTHS + NUM_COSINES, width), nn.SiLU())
        self.mix = nn.Linear(width + 2, width)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Compute the features of n crystals, shape (n, width)."""
        lengths, axes = lengths_and_directions(arrays["reduced_lattice_angstrom"], LONGEST_ANGSTROM)
        cosines = (axes.roll(1, dims=1) * axes.roll(-1, dims=1)).sum(-1)  # opposite to each vector
        of_length = smeared(lengths.squeeze(-1), LONGEST_ANGSTROM, NUM_LENGTHS)
        of_angle = smeared(cosines.abs(), 1.0, NUM_COSINES)
        dtype = self.mix.weight.dtype
        axis = self.of_axis(torch.cat([of_length, of_angle], dim=-1).to(dtype))
        # To reverse a vector reverses two of the cosines, and not the sign of their product.
        is_acute = torch.tanh(_ACUTENESS * cosines.prod(dim=1, keepdim=True))
        log_num_atoms = arrays["num_atoms"].float()[:, None].log()
        of_cell = torch.cat([axis.sum(1), is_acute.to(dtype), log_num_atoms.to(dtype)], dim=-1)
        features: Tensor = self.mix(of_cell)
        return features


class GatedLayer(nn.Module):
    """x_i <- x_i + W sum_j w_ij sigmoid(a_ij) silu(b_ij), and then x_i <- x_i + MLP(x_i).

    Here (a_ij, b_ij) = A x_i + B x_j + C e_ij, with x normalised atom by atom.
    """

    def __init__(self, width: int, edge_width: int, mlp_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.of_center = nn.Linear(width, 2 * width)
        self.of_neighbor = nn.Linear(width, 2 * width, bias=False)
        self.of_edge = nn.Linear(edge_width, 2 * width, bias=False)
        self.gathered = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, mlp_width),
            nn.SiLU(),
            nn.Linear(mlp_width, width),
        )

    def forward(self, atoms: Tensor, index: Tensor, edges: Tensor, weights: Tensor) -> Tensor:
        """Update the states of atoms, shape (atoms, width).

        Args:
            atoms: state of each atom, shape (atoms, width).
            index: source and target of each edge, shape (2, edges); an atom gathers from the
                targets of the edges of which it is the source.
            edges: features of each edge, shape (edges, edge_width).
            weights: envelope of each edge, shape (edges, 1).
        """
        centers, neighbors = index
        normal = self.norm(atoms)
        joint = self.of_edge(edges)
        joint += self.of_center(normal).index_select(0, centers)
        joint += self.of_neighbor(normal).index_select(0, neighbors)
        gathered = gated_sum(joint, weights, centers, len(atoms))
        atoms = atoms + self.gathered(_MESSAGE_SCALE * gathered)
        updated: Tensor = atoms + self.mlp(atoms)
        return updated


def _from_zero(linear: nn.Linear) -> nn.Linear:
    """Let a map begin at zero, so that what it adds makes no difference at first."""
    nn.init.zeros_(linear.weight)
    return linear


def smeared(values: Tensor, largest: float, num_centres: int) -> Tensor:
    """Expand values in Gaussians from 0 to the largest value.

    Args:
        values: any shape.
        largest: where the last Gaussian is centred.
        num_centres: number of Gaussians; they are as wide as they are apart.

    Returns:
        The shape of the values, and ``num_centres`` on a further axis.
    """
    steps = torch.arange(num_centres, device=values.device)
    distances = values[..., None] * ((num_centres - 1) / largest) - steps
    return fallen_off(0.5 * distances.square())


def envelope(fractions: Tensor) -> Tensor:
    """Fall smoothly from 1 at zero to 0 at one, where two derivatives vanish too."""
    x = fractions.clamp(max=1)
    return 1 - x**3 * (10 - 15 * x + 6 * x.square())
