"""The network of ``gated.py``.

Everything that is linear in an atom is computed once an atom and only then gathered to the edges;
what depends on the geometry alone is computed once a crystal. Each layer passes over the edges
once. Nothing is normalised over a batch, so a crystal's embedding is its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnimat.modalities.structure.crystal_network import (
    AtomEmbedding,
    crystal_of_atom,
    edge_index,
    lengths_and_directions,
    pool_atoms,
    sum_at,
)
from omnimat.modalities.structure.elements import MAX_ATOMIC_NUMBER
from omnimat.modalities.structure.gated import GatedGraphSettings
from omnimat.modalities.structure.gated_sum import gated_sum

# Keeps a sum over some 16 neighbours at the size of its terms.
_MESSAGE_SCALE = 0.25
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

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n crystals.

        Args:
            arrays: ``atomic_numbers`` (atoms,), ``edge_sources`` and ``edge_targets`` (edges,) as
                positions in the batch, ``edge_vectors_angstrom`` (edges, 3), ``num_atoms`` (n,),
                and with a lattice ``reduced_lattice_angstrom`` (n, 3, 3).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        atoms = self.atom_states(arrays)
        return pool_atoms(self.head(atoms), arrays["num_atoms"].long(), self.settings.pool)

    def atom_states(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Compute the state of each atom, shape (atoms, hidden_width), before the head."""
        index, numbers = edge_index(arrays), arrays["atomic_numbers"].long()
        atoms = self.atoms(numbers) + self.elements(numbers)
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
        radial = smeared(lengths, self.settings.cutoff_angstrom, self.settings.num_radial).to(dtype)
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
    """What an edge sees of the lattice: its angle to each of three vectors, and their lengths."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_angles = nn.Linear(3 * NUM_COSINES, width)
        self.of_lengths = nn.Linear(3 * NUM_LENGTHS, width, bias=False)

    def forward(self, lattice_angstrom: Tensor, directions: Tensor, crystals: Tensor) -> Tensor:
        """Compute the features, shape (edges, width).

        Args:
            lattice_angstrom: vectors of each crystal from the shortest on, shape (n, 3, 3).
            directions: unit vector of each edge, shape (edges, 3).
            crystals: crystal of each edge, shape (edges,).
        """
        lengths, axes = lengths_and_directions(lattice_angstrom, LONGEST_ANGSTROM)
        # Of a lattice vector, the sign is a choice.
        cosines = torch.einsum("exy,ey->ex", axes.index_select(0, crystals), directions).abs()
        dtype = self.of_angles.weight.dtype
        seen = self.of_angles(smeared(cosines, 1.0, NUM_COSINES).to(dtype))
        of_crystal = smeared(lengths.squeeze(-1), LONGEST_ANGSTROM, NUM_LENGTHS).to(dtype)
        features: Tensor = seen + self.of_lengths(of_crystal).index_select(0, crystals)
        return features


class CellFeatures(nn.Module):
    """Lengths of three lattice vectors, angles between them, and the number of atoms."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Linear(3 * NUM_LENGTHS + 3 * NUM_COSINES + 1, width),
            nn.SiLU(),
            nn.Linear(width, width),
        )

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Compute the features of n crystals, shape (n, width)."""
        lengths, axes = lengths_and_directions(arrays["reduced_lattice_angstrom"], LONGEST_ANGSTROM)
        cosines = (axes * axes.roll(1, dims=1)).sum(-1).abs()
        given = [
            smeared(lengths.squeeze(-1), LONGEST_ANGSTROM, NUM_LENGTHS),
            smeared(cosines, 1.0, NUM_COSINES),
            arrays["num_atoms"].float()[:, None].log(),
        ]
        dtype = next(self.mix.parameters()).dtype
        features: Tensor = self.mix(torch.cat(given, dim=-1).to(dtype))
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


def smeared(values: Tensor, largest: float, num_centres: int) -> Tensor:
    """Expand values in Gaussians from 0 to the largest value.

    Args:
        values: shape (n, m).
        largest: where the last Gaussian is centred.
        num_centres: number c of Gaussians; they are as wide as they are apart.

    Returns:
        Shape (n, m * c).
    """
    steps = torch.arange(num_centres, device=values.device)
    distances = values[..., None] * ((num_centres - 1) / largest) - steps
    return torch.exp(-0.5 * distances.square()).flatten(1)


def envelope(fractions: Tensor) -> Tensor:
    """Fall smoothly from 1 at zero to 0 at one, where two derivatives vanish too."""
    x = fractions.clamp(max=1)
    return 1 - x**3 * (10 - 15 * x + 6 * x.square())


def legendre_sums(
    parts: Tensor, directions: Tensor, index: Tensor, num_atoms: int, max_degree: int
) -> Tensor:
    """Sum Legendre polynomials of the angles between each edge and the edges at both of its ends.

    For an edge from i to j it gives sum_k p_ik P_l(cos kij) and sum_k p_jk P_l(cos kji), with the
    edge itself among them, by the addition theorem: the parts times harmonics are summed at each
    atom, so that the cost grows with the number of edges and not with that of their pairs.

    Args:
        parts: what each edge adds to the densities at its source, shape (edges, C).
        directions: unit vectors from source to target, shape (edges, 3).
        index: source and target of each edge, shape (2, edges).
        num_atoms: number of atoms.
        max_degree: highest degree L.

    Returns:
        The sums at source and target, shape (edges, 2 * C * (L + 1)).
    """
    values = harmonics(directions, max_degree)
    moments = sum_at((parts[:, :, None] * values[:, None]).flatten(1), index[0], num_atoms)
    degrees = [2 * degree + 1 for degree in range(max_degree + 1)]
    # Seen from the target, the edge points the other way, which turns the sign of odd degrees.
    parities = torch.cat([values.new_full((n,), (-1.0) ** (n // 2)) for n in degrees])
    sums = []
    for end, seen in zip(index, (values, values * parities), strict=True):
        at_end = moments.index_select(0, end).view(*parts.shape, values.shape[1]) * seen[:, None]
        sums += [part.sum(-1) for part in torch.split(at_end, degrees, dim=-1)]
    return torch.cat(sums, dim=-1)


def harmonics(directions: Tensor, max_degree: int) -> Tensor:
    """Compute real spherical harmonics, of which each degree has a sum of squares of one.

    Args:
        directions: unit vectors, shape (n, 3); a zero vector gives values that must not be used.
        max_degree: highest degree L, from 1 to 3.

    Returns:
        Shape (n, (L + 1)^2), in the order of degrees.
    """
    x, y, z = directions.unbind(-1)
    values = [torch.ones_like(x), x, y, z]
    if max_degree >= 2:
        values += [math.sqrt(3) * product for product in (x * y, y * z, x * z)]
        values += [math.sqrt(3) / 2 * (x * x - y * y), (3 * z * z - 1) / 2]
    if max_degree >= 3:
        values += [math.sqrt(3 / 8) * one * (5 * z * z - 1) for one in (x, y)]
        values += [math.sqrt(15) * x * y * z, math.sqrt(15) / 2 * z * (x * x - y * y)]
        values += [math.sqrt(5 / 8) * x * (x * x - 3 * y * y), z * (5 * z * z - 3) / 2]
        values += [math.sqrt(5 / 8) * y * (3 * x * x - y * y)]
    return torch.stack(values, dim=-1)
