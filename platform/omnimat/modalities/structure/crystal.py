"""What the encoders of crystal graphs share: their needs, and sums over edges and atoms.

torch_geometric is imported where it is called: with all of torch._dynamo it takes two seconds,
which each driver and actor that only reads settings would pay.
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
from omnimat.nn.precision import at_least_single

Pool = Literal["mean", "sum"]


class CrystalEncoderSettings(EncoderSettings):
    """Settings of an encoder of crystal graphs, and what it needs of the featurizer."""

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
        """Whether it takes the lattice sums of atom pairs."""
        return False

    @property
    def needs_cutoff_angstrom(self) -> float | None:
        """Length up to which the graph must hold the neighbours; None: any graph serves."""
        return None


class CutoffEncoderSettings(CrystalEncoderSettings):
    """Settings of an encoder whose messages fade out at a cutoff, with one embedding an atom.

    Attributes:
        cutoff_angstrom: where they end.
        pool: what a crystal's embedding is of those of its atoms.
    """

    cutoff_angstrom: PositiveFloat
    pool: Pool = "mean"

    @property
    def needs_cutoff_angstrom(self) -> float:
        """Its own cutoff."""
        return self.cutoff_angstrom


class AtomEmbedding(nn.Module):
    """A linear map of the features of an atom's element."""

    element_features: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # Kept in the checkpoint, so that another pymatgen's data cannot change a trained model.
        self.register_buffer("element_features", torch.tensor(element_table()))
        self.linear = nn.Linear(NUM_ELEMENT_FEATURES, width)

    def forward(self, atomic_numbers: Tensor) -> Tensor:
        """Map (atoms,) to (atoms, width)."""
        features = self.element_features[atomic_numbers.long()]
        embedded: Tensor = self.linear(features.to(self.linear.weight.dtype))
        return embedded


def edge_index(arrays: Mapping[str, Tensor]) -> Tensor:
    """Give (2, edges) int64 of source and target, as positions in the batch."""
    return torch.stack([arrays["edge_sources"], arrays["edge_targets"]]).long()


def lengths_and_directions(
    edge_vectors_angstrom: Tensor, cutoff_angstrom: float
) -> tuple[Tensor, Tensor]:
    """Give lengths in angstrom, (edges, 1), and unit vectors, (edges, 3), of the edges.

    A zero vector is an edge that an augmentation masks. It gets no direction and the length of the
    cutoff, where messages end: it is as if it were not there.
    """
    lengths = torch.linalg.vector_norm(edge_vectors_angstrom, dim=-1, keepdim=True)
    lengths = torch.where(lengths > 0, lengths, cutoff_angstrom)
    return lengths, edge_vectors_angstrom / lengths


def sum_at(values: Tensor, positions: Tensor, num_positions: int) -> Tensor:
    """Sum (m, ...) values at each of n positions, in float32 whatever their precision: (n, ...)."""
    from torch_geometric.utils import scatter

    total: Tensor = scatter(widened(values), positions, dim=0, dim_size=num_positions)
    return total.to(values.dtype)


def pool_atoms(atoms: Tensor, num_atoms: Tensor, pool: Pool = "mean") -> Tensor:
    """Pool (atoms, width) over the crystals, whose (n,) sizes are given: (n, width).

    The mean does not change when a cell is repeated; the sum grows with the cell.
    """
    from torch_geometric.nn import global_add_pool, global_mean_pool

    crystals = torch.arange(len(num_atoms), device=atoms.device)
    # Told the size, it need not wait for the device to count.
    crystals = crystals.repeat_interleave(num_atoms, output_size=len(atoms))
    function = global_mean_pool if pool == "mean" else global_add_pool
    pooled: Tensor = function(widened(atoms), crystals, size=len(num_atoms))
    return pooled.to(atoms.dtype)


def widened(values: Tensor) -> Tensor:
    """Give the values in at least single precision."""
    return values.to(at_least_single(values.dtype))


def starts_of(counts: Tensor) -> Tensor:
    """Give the position where each of (n,) runs of these lengths begins."""
    return counts.cumsum(0) - counts
