"""What the networks on crystal graphs share: elements, edges, and sums over atoms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.modalities.structure.crystal import Pool
from omnimat.modalities.structure.elements import NUM_ELEMENT_FEATURES, element_table
from omnimat.nn import devices
from omnimat.nn.precision import widened

_NEGLIGIBLE = 1e-20


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


def fallen_off(squares: Tensor) -> Tensor:
    """Compute exp(-x) of squares x, any shape, and zero where it is below 1e-20.

    Such a number makes no difference beside those near one. But below 1e-38, where float32 keeps
    ever fewer digits of it, many processors take far longer for each product.
    """
    return F.threshold(torch.exp(-squares), _NEGLIGIBLE, 0.0)


def distinct(values: Tensor) -> tuple[Tensor, Tensor]:
    """Find the different ones of m numbers, so that what follows from them is computed once.

    Symmetry, and that each edge has a reverse, makes many equal to the last bit. How many differ, a
    GPU would have to be waited for, so there each number is taken for a different one.

    Args:
        values: numbers, shape (m,).

    Returns:
        The different numbers, shape (n,), and which of them each number is, int64 of shape (m,).
    """
    if not devices.is_on_host(values):
        return values, torch.arange(len(values), device=values.device)
    found, places = np.unique(values.detach().numpy(), return_inverse=True)
    return torch.from_numpy(found), torch.from_numpy(places)


def sum_at(values: Tensor, positions: Tensor, num_positions: int) -> Tensor:
    """Sum the values at each position, in at least float32 whatever their own precision.

    Args:
        values: values to sum, shape (m, ...).
        positions: position of each value, shape (m,).
        num_positions: number n of positions.

    Returns:
        The sum at each position in the dtype of the values, shape (n, ...).
    """
    wide = widened(values)
    total = wide.new_zeros(num_positions, *wide.shape[1:]).index_add(0, positions, wide)
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
    pooled = sum_at(widened(atoms), owners(num_atoms, len(atoms)), len(num_atoms))
    if pool == "mean":
        pooled = pooled / num_atoms[:, None].clamp(min=1)
    return pooled.to(atoms.dtype)


def crystal_of_atom(arrays: Mapping[str, Tensor]) -> Tensor:
    """Return the position of each atom's crystal in the batch, shape (atoms,)."""
    return owners(arrays["num_atoms"].long(), len(arrays["atomic_numbers"]))


def owners(counts: Tensor, total: int) -> Tensor:
    """Return to which of n consecutive runs of these lengths each place belongs, shape (total,)."""
    runs = torch.arange(len(counts), device=counts.device)
    # Given the size of the output, torch does not wait for the device to compute it.
    return runs.repeat_interleave(counts, output_size=total)


def starts_of(counts: Tensor) -> Tensor:
    """Return the position where each of n consecutive runs of these lengths begins, shape (n,)."""
    return counts.cumsum(0) - counts
