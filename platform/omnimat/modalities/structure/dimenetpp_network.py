"""DimeNet++: messages between edges that depend on the angle between them.

It follows Gasteiger, Giri, Margraf and Günnemann, "Fast and uncertainty-aware directional message
passing for non-equilibrium molecules" (2020), for periodic graphs, and was written from the
equations. Two things differ for crystals. Of all edges into an edge's source, only the reverse of
that edge is left out (same atom and opposite image; for molecules the same atom would do), and
atoms are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.modalities.structure.crystal_network import (
    edge_index,
    lengths_and_directions,
    owners,
    pool_atoms,
    starts_of,
    sum_at,
)
from omnimat.modalities.structure.dimenetpp import DimeNetPlusPlusSettings
from omnimat.modalities.structure.elements import MAX_ATOMIC_NUMBER
from omnimat.modalities.structure.spherical_basis import angular_parts, envelope, radial_parts
from omnimat.nn.precision import widened

# Images of one atom are always farther apart than this, and float32 rounding errors are smaller.
_SAME_IMAGE_ANGSTROM = 1e-2


class DimeNetPlusPlus(nn.Module):
    """Maps crystal graphs to embeddings."""

    def __init__(self, settings: DimeNetPlusPlusSettings, embedding_dim: int) -> None:
        super().__init__()
        self.settings = settings
        self.frequencies = nn.Parameter(torch.pi * torch.arange(1.0, settings.num_radial + 1))
        self.embedding = EdgeEmbedding(settings)
        self.interactions = nn.ModuleList(Interaction(settings) for _ in range(settings.num_blocks))
        self.outputs = nn.ModuleList(
            AtomOutput(settings, embedding_dim) for _ in range(settings.num_blocks + 1)
        )
        self._initialize()

    def _initialize(self) -> None:
        from torch_geometric.nn.inits import glorot_orthogonal  # slow to import, see crystal.py

        for module in self.modules():
            if isinstance(module, nn.Linear):
                glorot_orthogonal(module.weight, scale=2.0)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n crystals; a crystal without edges has the embedding zero.

        Args:
            arrays: ``atomic_numbers`` (atoms,), ``edge_sources`` and ``edge_targets`` (edges,) as
                positions in the batch, ``edge_vectors_angstrom`` (edges, 3), ``num_atoms`` (n,).
                The length of ``joined_edges`` tells how many pairs of edges meet at an atom;
                without it a GPU is waited for once.

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        elements, index = arrays["atomic_numbers"].long(), edge_index(arrays)
        vectors_angstrom = arrays["edge_vectors_angstrom"]
        pairs = joined_edges(index, len(elements), _num_joined(arrays))
        radial, spherical = self._basis(vectors_angstrom, pairs)
        # The layers on it have no bias, so a basis of zero is as if there were no such triplet.
        spherical = spherical * ~are_reverse(index, vectors_angstrom, pairs)[:, None]
        edges = self.embedding(elements, radial, index)
        atoms = self.outputs[0](edges, radial, index[1], len(elements))
        for interaction, output in zip(self.interactions, self.outputs[1:], strict=True):
            edges = interaction(edges, radial, spherical, pairs)
            atoms = atoms + output(edges, radial, index[1], len(elements))
        return pool_atoms(atoms, arrays["num_atoms"].long(), self.settings.pool)

    def _basis(self, vectors_angstrom: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the radial basis of edges and the spherical basis of triplets.

        Returns:
            Arrays of shape (edges, num_radial) and (triplets, num_spherical * num_radial).
        """
        settings, dtype = self.settings, self.frequencies.dtype
        distances_angstrom, directions = lengths_and_directions(
            vectors_angstrom, settings.cutoff_angstrom
        )
        scaled = distances_angstrom.squeeze(1) / settings.cutoff_angstrom
        smooth = envelope(scaled, settings.envelope_exponent)
        radial = smooth[:, None] * torch.sin(scaled[:, None] * widened(self.frequencies))
        incoming, outgoing = pairs
        cosines = (directions[incoming] * directions[outgoing]).sum(-1).clamp(-1, 1)
        parts = radial_parts(
            scaled, settings.num_spherical, settings.num_radial, settings.envelope_exponent
        )
        angular = angular_parts(cosines, settings.num_spherical)
        spherical = (parts[incoming] * angular[..., None]).flatten(1)
        return radial.to(dtype), spherical.to(dtype)


class EdgeEmbedding(nn.Module):
    """Embeds an edge from its two elements and its length."""

    def __init__(self, settings: DimeNetPlusPlusSettings) -> None:
        super().__init__()
        width = settings.hidden_width
        self.elements = nn.Embedding(MAX_ATOMIC_NUMBER + 1, width)
        nn.init.uniform_(self.elements.weight, -(3**0.5), 3**0.5)
        self.radial = nn.Linear(settings.num_radial, width)
        self.joint = nn.Linear(3 * width, width)

    def forward(self, elements: Tensor, radial: Tensor, index: Tensor) -> Tensor:
        """Map the elements of atoms, shape (atoms,), to edges of shape (edges, width)."""
        sources, targets = index
        atoms = self.elements(elements)
        parts = [atoms[targets], atoms[sources], F.silu(self.radial(radial))]
        return F.silu(self.joint(torch.cat(parts, dim=-1)))


class Interaction(nn.Module):
    """Updates each edge by the edges into its source, weighted by distance and angle."""

    def __init__(self, settings: DimeNetPlusPlusSettings) -> None:
        super().__init__()
        width, narrow = settings.hidden_width, settings.triplet_width
        num_spherical = settings.num_spherical * settings.num_radial
        self.radial = _two_maps(settings.num_radial, settings.basis_width, width)
        self.spherical = _two_maps(num_spherical, settings.basis_width, narrow)
        self.own = nn.Linear(width, width)
        self.other = nn.Linear(width, width)
        self.down = nn.Linear(width, narrow, bias=False)
        self.up = nn.Linear(narrow, width, bias=False)
        self.before_skip = _residuals(settings.num_before_skip, width)
        self.skip = nn.Linear(width, width)
        self.after_skip = _residuals(settings.num_after_skip, width)

    def forward(self, edges: Tensor, radial: Tensor, spherical: Tensor, pairs: Tensor) -> Tensor:
        """Update edges of shape (edges, width).

        Args:
            edges: state of each edge, shape (edges, width).
            radial: radial basis of each edge, shape (edges, num_radial).
            spherical: basis of each triplet, shape (triplets, num_spherical * num_radial).
            pairs: incoming and updated edge of each triplet, shape (2, triplets).
        """
        incoming, updated = pairs
        messages = F.silu(self.down(F.silu(self.other(edges)) * self.radial(radial)))
        messages = messages[incoming] * self.spherical(spherical)
        summed = F.silu(self.up(sum_at(messages, updated, len(edges))))
        hidden = self.before_skip(F.silu(self.own(edges)) + summed)
        result: Tensor = self.after_skip(F.silu(self.skip(hidden)) + edges)
        return result


class AtomOutput(nn.Module):
    """Sums the edges into each atom and maps the sum to the embedding."""

    def __init__(self, settings: DimeNetPlusPlusSettings, embedding_dim: int) -> None:
        super().__init__()
        width = settings.output_width
        self.radial = nn.Linear(settings.num_radial, settings.hidden_width, bias=False)
        layers: list[nn.Module] = [nn.Linear(settings.hidden_width, width, bias=False)]
        for _ in range(settings.num_output_layers):
            layers += [nn.Linear(width, width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, embedding_dim, bias=False))

    def forward(self, edges: Tensor, radial: Tensor, targets: Tensor, num_atoms: int) -> Tensor:
        """Map edges of shape (edges, hidden_width) to atoms of shape (atoms, embedding_dim)."""
        atoms: Tensor = self.layers(sum_at(self.radial(radial) * edges, targets, num_atoms))
        return atoms


class Residual(nn.Module):
    """Two layers with a skip connection around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, edges: Tensor) -> Tensor:
        """Map (edges, width) to the same shape."""
        result: Tensor = edges + self.layers(edges)
        return result


def _num_joined(arrays: Mapping[str, Tensor]) -> int | None:
    """Return how many pairs of edges meet at an atom, if collating has told it."""
    return len(arrays["joined_edges"]) if "joined_edges" in arrays else None


def joined_edges(index: Tensor, num_atoms: int, num_pairs: int | None = None) -> Tensor:
    """Pair every edge j -> i with all edges k -> j, its own reverse among them.

    Args:
        index: source and target of each edge, shape (2, edges).
        num_atoms: number of atoms in the batch.
        num_pairs: number of pairs. If it is not known, a GPU is waited for to tell it.

    Returns:
        The positions of the edges k -> j and j -> i, shape (2, pairs).
    """
    sources, targets = index
    by_target = torch.argsort(targets, stable=True)
    num_into = targets.new_zeros(num_atoms).index_add(0, targets, torch.ones_like(targets))
    num_joined = num_into[sources]
    outgoing = owners(num_joined, int(num_joined.sum()) if num_pairs is None else num_pairs)
    within = torch.arange(len(outgoing), device=sources.device)
    within = within - starts_of(num_joined)[outgoing]
    incoming = by_target[starts_of(num_into)[sources[outgoing]] + within]
    return torch.stack([incoming, outgoing])


def are_reverse(index: Tensor, vectors_angstrom: Tensor, pairs: Tensor) -> Tensor:
    """Say of each pair of edges whether one is the other's reverse, shape (pairs,)."""
    (sources, targets), (incoming, outgoing) = index, pairs
    gap = (vectors_angstrom[incoming] + vectors_angstrom[outgoing]).square().sum(-1)
    is_reverse: Tensor = (sources[incoming] == targets[outgoing]) & (gap < _SAME_IMAGE_ANGSTROM**2)
    return is_reverse


def _two_maps(width: int, between: int, out_width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, between, bias=False), nn.Linear(between, out_width, bias=False)
    )


def _residuals(count: int, width: int) -> nn.Sequential:
    return nn.Sequential(*[Residual(width) for _ in range(count)])
