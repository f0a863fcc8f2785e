"""What the encoders of crystal graphs share: base classes of settings, and sums over atoms.

torch_geometric is imported only where it is called. Importing it, with all of torch._dynamo, takes
two seconds, which every driver and actor that only reads settings would pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.structure.elements import NUM_ELEMENT_FEATURES, element_table
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.nn.precision import widened

Pool = Literal["mean", "sum"]


class CrystalEncoderSettings(EncoderSettings):
    """Settings of an encoder of crystal graphs, and what it needs from the featurizer."""

    def fitted_to(self, featurizer: Featurizer) -> Self:
        """Insist that the graph holds what the network takes.

        Raises:
            ValueError: it does not; the message says what to change.
        """
        if not isinstance(featurizer, CrystalGraph):
            raise ValueError(f"the encoder {self.type} takes the featurizer crystal_graph")
        sums = featurizer.lattice_sums
        if self.needs_lattice_sums and sums == "none":
            raise ValueError(
                f"the encoder {self.type} takes lattice sums: set featurizer.lattice_sums to "
                "featurized or in_encoder, or encoder.lattice_sums to false"
            )
        if sums == "in_encoder" and not self.needs_lattice_sums:
            raise ValueError(
                f"the encoder {self.type} as set here computes no lattice sums: set "
                "featurizer.lattice_sums to none"
            )
        cutoff = self.needs_cutoff_angstrom
        reaches = featurizer.neighbors == "within_cutoff" and cutoff is not None
        if cutoff and not (reaches and featurizer.cutoff_angstrom >= cutoff):
            raise ValueError(
                f"the encoder {self.type} takes the neighbours within {cutoff} angstrom: set "
                f"featurizer.neighbors to within_cutoff and featurizer.cutoff_angstrom to {cutoff}"
            )
        return self

    @property
    def needs_lattice_sums(self) -> bool:
        """Whether the encoder uses the lattice sums of atom pairs."""
        return False

    @property
    def needs_cutoff_angstrom(self) -> float | None:
        """Radius within which the graph must hold all neighbours; None if any graph will do."""
        return None


class CutoffEncoderSettings(CrystalEncoderSettings):
    """Settings of an encoder with one embedding per atom, whose messages vanish at a cutoff.

    Attributes:
        cutoff_angstrom: distance at which messages vanish.
        pool: whether a crystal's embedding is the mean or the sum of those of its atoms.
    """

    cutoff_angstrom: PositiveFloat
    pool: Pool = "mean"

    @property
    def needs_cutoff_angstrom(self) -> float:
        """The cutoff of the encoder."""
        return self.cutoff_angstrom


class AtomEmbedding(nn.Module):
    """A linear map of the features of each atom's element."""

    element_features: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # Saved in checkpoints, so that another version of pymatgen cannot change a trained model.
        self.register_buffer("element_features", torch.tensor(element_table()))
        self.linear = nn.Linear(NUM_ELEMENT_FEATURES, width)

    def forward(self, atomic_numbers: Tensor) -> Tensor:
        """Map atomic numbers of shape (atoms,) to shape (atoms, width)."""
        features = self.element_features[atomic_numbers.long()]
        embedded: Tensor = self.linear(features.to(self.linear.weight.dtype))
        return embedded


def edge_index(arrays: Mapping[str, Tensor]) -> Tensor:
    """Return sources and targets as positions in the batch, int64 of shape (2, edges)."""
    return torch.stack([arrays["edge_sources"], arrays["edge_targets"]]).long()


def lengths_and_directions(
    edge_vectors_angstrom: Tensor, cutoff_angstrom: float
) -> tuple[Tensor, Tensor]:
    """Return the lengths of edges in angstrom, (edges, 1), and their unit vectors, (edges, 3).

    A zero vector is an edge that an augmentation masks. It gets no direction and the length of the
    cutoff, where messages vanish, so that the edge has no effect.
    """
    lengths = torch.linalg.vector_norm(edge_vectors_angstrom, dim=-1, keepdim=True)
    lengths = torch.where(lengths > 0, lengths, cutoff_angstrom)
    return lengths, edge_vectors_angstrom / lengths


def sum_at(values: Tensor, positions: Tensor, num_positions: int) -> Tensor:
    """Sum the values at each position, in at least float32 whatever their own precision.

    Args:
        values: values to sum, shape (m, ...).
        positions: position of each value, shape (m,).
        num_positions: number n of positions.

    Returns:
        The sum at each position in the dtype of the values, shape (n, ...).
    """
    from torch_geometric.utils import scatter

    total: Tensor = scatter(widened(values), positions, dim=0, dim_size=num_positions)
    return total.to(values.dtype)


def pool_atoms(atoms: Tensor, num_atoms: Tensor, pool: Pool = "mean") -> Tensor:
    """Pool the atoms of each crystal.

    The mean does not change when a cell is repeated; the sum grows with the cell.

    Args:
        atoms: embeddings of atoms, shape (atoms, width).
        num_atoms: number of atoms of each crystal, shape (n,).
        pool: ``mean`` or ``sum``.

    Returns:
        The pooled embeddings, shape (n, width).
    """
    from torch_geometric.nn import global_add_pool, global_mean_pool

    crystals = torch.arange(len(num_atoms), device=atoms.device)
    # Given the size of the output, torch does not wait for the device to compute it.
    crystals = crystals.repeat_interleave(num_atoms, output_size=len(atoms))
    function = global_mean_pool if pool == "mean" else global_add_pool
    pooled: Tensor = function(widened(atoms), crystals, size=len(num_atoms))
    return pooled.to(atoms.dtype)


def starts_of(counts: Tensor) -> Tensor:
    """Return the position where each of n consecutive runs of these lengths begins, shape (n,)."""
    return counts.cumsum(0) - counts
