"""Infinite lattice sums of pair potentials for a batch of crystals, in torch, on any device.

The series and where they are cut are those of ``ewald.py``; here they are summed for many
crystals at once. Lattices and numbers of atoms are copied to the host once, where the summation is
planned. Crystals of about the same size then form a group, whose arrays are padded to its largest.
The host waits for the device a few times a group, never once a crystal or a pair. Everything is in
double precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnimat.modalities.structure.crystal import starts_of, sum_at
from omnimat.modalities.structure.ewald import (
    TOLERANCE,
    Functions,
    SummationPlan,
    background_terms,
    real_terms,
    reciprocal_weights,
    self_terms,
)

TORCH = Functions(torch.sqrt, torch.exp, torch.erf, torch.erfc, torch.special.erfcx)

# The largest crystal of a group has at most so many times the atoms of its smallest.
_SIZE_RATIO = 1.25
# In the largest array of a group, or of a block of its pairs; a crystal that needs more is a group
# by itself.
_NUMBERS_PER_BLOCK = 2**22


@torch.no_grad()
def lattice_sums(
    lattices_angstrom: Tensor,
    frac_coords: Tensor,
    num_atoms: Tensor,
    pauli_decays_per_angstrom: Tensor,
    tolerance: float = TOLERANCE,
) -> Tensor:
    """Sum three pair potentials over all periodic images of every pair of atoms of n crystals.

    The result carries no gradient: the sums are inputs of a network, not parts of it.

    Args:
        lattices_angstrom: (n, 3, 3) rows a, b, c; any cell of a lattice gives the same sums.
        frac_coords: (sum N, 3), the crystals one after another.
        num_atoms: (n,) int64, N of each, at least 1.
        pauli_decays_per_angstrom: (n,) of the Pauli term, see ``ewald.pauli_decay``.
        tolerance: absolute error allowed in each sum, in its own unit.

    Returns:
        (sum N(N+1)/2, 3) float64: for each crystal the pairs i <= j, row by row. Columns: Coulomb
        in 1/A, London in 1/A^6, Pauli (no unit). Without meaning for two atoms that coincide, which
        ``CrystalGraph`` does not let through.

    Raises:
        ValueError: a cell has no volume.
    """
    sizes = num_atoms.cpu().numpy()
    order = np.argsort(sizes, kind="stable")
    sizes = sizes[order]
    lattices = lattices_angstrom.double().cpu().numpy()[order]
    plan = SummationPlan.of(lattices, sizes, tolerance)
    crystals = _Crystals.of(plan, torch.from_numpy(order), num_atoms, pauli_decays_per_angstrom)
    num_pairs = int((sizes * (sizes + 1) // 2).sum())
    # The last row, which is cut off, takes the padding.
    sums = torch.empty(num_pairs + 1, 3, dtype=torch.float64, device=num_atoms.device)
    for chosen in _groups(plan, sizes):
        group, largest = crystals.part(chosen), int(sizes[chosen.stop - 1])
        pairs = torch.triu_indices(largest, largest, device=sums.device)
        places = group.places(pairs, missing=num_pairs)
        fractional = group.fractional(frac_coords, largest)
        total = _reciprocal_part(fractional, pairs, group, plan.reciprocal_extents[chosen])
        total += _real_part(fractional, pairs, group, plan.real_extents[chosen])
        sums[places] = total
    return sums[:-1]


@dataclass(frozen=True, slots=True)
class _Crystals:
    """Crystals in order of their size, on the device; plan and batch say what of each.

    Attributes:
        num_atoms: (c,) int64.
        first_atoms: (c,) positions of their first atoms in the batch.
        first_pairs: (c,) positions of their first pairs among the sums of the batch.
        decays: (c,) of the Pauli term.
        cells, inverses, transforms: (c, 3, 3).
        volumes, splits, cutoffs_angstrom, image_radii_angstrom, cutoffs_per_angstrom: (c,).
    """

    num_atoms: Tensor
    first_atoms: Tensor
    first_pairs: Tensor
    decays: Tensor
    cells: Tensor
    inverses: Tensor
    transforms: Tensor
    volumes: Tensor
    splits: Tensor
    cutoffs_angstrom: Tensor
    image_radii_angstrom: Tensor
    cutoffs_per_angstrom: Tensor

    @classmethod
    def of(cls, plan: SummationPlan, order: Tensor, num_atoms: Tensor, decays: Tensor) -> _Crystals:
        """Take crystals of a batch in the order of the plan."""
        order = order.to(num_atoms.device)
        num_pairs = num_atoms * (num_atoms + 1) // 2
        of_batch = (num_atoms, starts_of(num_atoms), starts_of(num_pairs), decays.double())
        of_plan = (
            plan.cells_angstrom,
            plan.inverses,
            plan.transforms,
            plan.volumes,
            plan.splits,
            plan.cutoffs_angstrom,
            plan.image_radii_angstrom,
            plan.cutoffs_per_angstrom,
        )
        return cls(
            *(values[order] for values in of_batch),
            *(torch.from_numpy(values).to(num_atoms.device) for values in of_plan),
        )

    def part(self, chosen: slice) -> _Crystals:
        """Take some of them."""
        return _Crystals(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def fractional(self, frac_coords: Tensor, largest: int) -> Tensor:
        """Coordinates in the compact cells, the last atom in place of missing ones: (c, N, 3)."""
        atoms = torch.arange(largest, device=frac_coords.device)
        atoms = self.first_atoms[:, None] + atoms.clamp(max=self.num_atoms[:, None] - 1)
        return frac_coords[atoms].double() @ self.transforms

    def places(self, pairs: Tensor, missing: int) -> Tensor:
        """Positions among the sums of the batch of (2, P) pairs i <= j of each crystal: (c, P)."""
        (i, j), size = pairs, self.num_atoms[:, None]
        places = self.first_pairs[:, None] + i * size - i * (i - 1) // 2 + j - i
        return torch.where(j < size, places, missing)


def _groups(plan: SummationPlan, sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Cut crystals in order of size into groups that waste and hold little when padded."""
    # The largest arrays: a phase for each atom and wave, and the vectors of the images.
    num_waves, num_images = (
        (2 * extents + 1).prod(axis=1) for extents in (plan.reciprocal_extents, plan.real_extents)
    )
    costs = (sizes * num_waves + 3 * num_images).tolist()
    first, highest = 0, 0
    for last, (size, cost) in enumerate(zip(sizes.tolist(), costs, strict=True)):
        highest = max(highest, cost)
        too_much = highest * (last + 1 - first) > _NUMBERS_PER_BLOCK
        if last > first and (too_much or size > _SIZE_RATIO * sizes[first]):
            yield slice(first, last)
            first, highest = last, cost
    if len(costs):
        yield slice(first, len(costs))


def _nearest_points(grid: Tensor, vectors: Tensor, radii: Tensor) -> Tensor:
    """Choose those of (m, 3) integer triples n for which n @ vectors is shortest, c times.

    Returns:
        (c, k, 3), shortest first; k is the number of those within the radius where it is largest,
        so the other crystals get some beyond theirs.
    """
    squared = (grid @ vectors).square().sum(dim=2)
    num_within = (squared <= radii.square()[:, None]).sum(dim=1)
    return grid[squared.topk(int(num_within.max()), largest=False).indices]


def _grid(extents: NDArray[np.int64], device: torch.device) -> Tensor:
    """All integer triples within the largest of (c, 3) extents: (m, 3), mirrored in the middle."""
    ranges = (
        torch.arange(-extent, extent + 1, dtype=torch.float64, device=device)
        for extent in extents.max(axis=0).tolist()
    )
    return torch.cartesian_prod(*ranges)


def _reciprocal_part(
    fractional: Tensor, pairs: Tensor, group: _Crystals, extents: NDArray[np.int64]
) -> Tensor:
    """Sum over g as a matrix product, cos(2 pi g.(r_i - r_j)) = Re(S_gi conj(S_gj)): (c, P, 3)."""
    grid = _grid(extents, fractional.device)
    half = grid[len(grid) // 2 + 1 :]
    reciprocal = group.inverses.mT
    points = _nearest_points(half, reciprocal, group.cutoffs_per_angstrom)
    weights = reciprocal_weights(
        (points @ reciprocal).square().sum(dim=2),
        group.splits[:, None],
        group.decays[:, None],
        group.volumes[:, None],
        TORCH,
    )
    phases = (2 * torch.pi) * fractional @ points.mT
    waves = torch.cat([phases.cos(), phases.sin()], dim=2)
    i, j = pairs
    parts = [
        ((waves * torch.cat([2 * w, 2 * w], dim=1)[:, None]) @ waves.mT)[:, i, j] for w in weights
    ]
    background = background_terms(group.splits, group.decays, group.volumes, TORCH)
    return torch.stack(parts, dim=2) + torch.stack(background, dim=1)[:, None]


def _real_part(
    fractional: Tensor, pairs: Tensor, group: _Crystals, extents: NDArray[np.int64]
) -> Tensor:
    """Sum the real-space series, block by block of the pairs to bound memory: (c, P, 3)."""
    grid = _grid(extents, fractional.device)
    images = _nearest_points(grid, group.cells, group.image_radii_angstrom) @ group.cells
    num_pairs = max(1, _NUMBERS_PER_BLOCK // (images.shape[0] * images.shape[1]))
    blocks = [
        _real_block(fractional, block, images, group)
        for block in torch.split(pairs, num_pairs, dim=1)
    ]
    return torch.cat(blocks, dim=1)


def _real_block(fractional: Tensor, pairs: Tensor, images: Tensor, group: _Crystals) -> Tensor:
    """Sum the real-space series of p pairs of each crystal over its (c, k, 3) images: (c, p, 3)."""
    i, j = pairs
    steps = fractional[:, i] - fractional[:, j]
    separations = (steps - steps.round()) @ group.cells
    r_squared = separations.square().sum(dim=2)[:, :, None] + images.square().sum(dim=2)[:, None]
    r_squared.baddbmm_(separations, images.mT, alpha=2)
    is_self = i == j
    r_squared[:, :, 0].masked_fill_(is_self, torch.inf)  # the shortest image is the zero vector
    limits = torch.where(j < group.num_atoms[:, None], group.cutoffs_angstrom.square()[:, None], -1)
    found = (r_squared <= limits[:, :, None]).flatten().nonzero().squeeze(1)
    pair = found // images.shape[1]
    crystal = pair // len(i)
    terms = real_terms(
        r_squared.flatten()[found], group.splits[crystal], group.decays[crystal], TORCH
    )
    sums = sum_at(torch.stack(terms, dim=1), pair, limits.numel()).view(*limits.shape, 3)
    own = torch.stack(self_terms(group.splits, group.decays, TORCH), dim=1)
    sums += is_self[:, None] * own[:, None]
    return sums
