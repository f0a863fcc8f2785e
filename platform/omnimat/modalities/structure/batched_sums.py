"""Infinite lattice sums of pair potentials for a batch of crystals, in torch on any device.

The series and their cutoffs are those of ``ewald.py``; here they are summed for many crystals at
once. Lattices and numbers of atoms are copied to the host once, and the summation is planned there.
Crystals of about the same size then form a group, whose arrays are padded to the largest crystal.
The host waits for the device a few times per group, never for each crystal or pair. All numbers are
in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnimat.modalities.structure.crystal_network import starts_of, sum_at
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

# The largest crystal of a group has at most this many times the atoms of the smallest.
_SIZE_RATIO = 1.25
# Size limit of the largest array of a group, or of a block of its pairs. A crystal that needs more
# forms a group of its own.
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
        lattices_angstrom: cells with rows a, b, c, shape (n, 3, 3); any cell of a lattice gives the
            same sums.
        frac_coords: fractional coordinates of all atoms, one crystal after another, shape
            (sum N, 3).
        num_atoms: number N of atoms of each crystal, at least 1, int64 of shape (n,).
        pauli_decays_per_angstrom: decay of the Pauli term in each crystal, shape (n,), see
            ``ewald.pauli_decay``.
        tolerance: absolute error allowed in each sum, in the unit of that sum.

    Returns:
        The sums of each crystal's pairs i <= j, row by row, float64, shape (sum N(N+1)/2, 3). The
        columns are Coulomb in 1/A, London in 1/A^6 and Pauli (no unit). The sums of two atoms that
        coincide are meaningless; ``CrystalGraph`` rejects such crystals.

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
    # The padding goes to an additional last row, which is not returned.
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
    """Crystals in order of size, with what the sums need of each, on the device.

    Attributes:
        num_atoms: number of atoms of each crystal, int64 of shape (c,).
        first_atoms: position of each crystal's first atom in the batch, shape (c,).
        first_pairs: position of each crystal's first pair among the sums of the batch, shape (c,).
        decays: decay of the Pauli term in each crystal, shape (c,).
        cells, inverses, transforms: see ``SummationPlan``, shape (c, 3, 3).
        volumes, splits, cutoffs_angstrom, image_radii_angstrom, cutoffs_per_angstrom: see
            ``SummationPlan``, shape (c,).
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
        """Collect the crystals of a batch in the order of the plan."""
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
        """Return some of the crystals."""
        return _Crystals(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def fractional(self, frac_coords: Tensor, largest: int) -> Tensor:
        """Return coordinates in the compact cells, shape (c, N, 3).

        Crystals with fewer than N atoms are padded by repeating their last atom.
        """
        atoms = torch.arange(largest, device=frac_coords.device)
        atoms = self.first_atoms[:, None] + atoms.clamp(max=self.num_atoms[:, None] - 1)
        return frac_coords[atoms].double() @ self.transforms

    def places(self, pairs: Tensor, missing: int) -> Tensor:
        """Return where each crystal's sums of the pairs i <= j belong in the batch, shape (c, P).

        Args:
            pairs: atoms i and j of the pairs, shape (2, P).
            missing: position for pairs that a crystal does not have.
        """
        (i, j), size = pairs, self.num_atoms[:, None]
        places = self.first_pairs[:, None] + i * size - i * (i - 1) // 2 + j - i
        return torch.where(j < size, places, missing)


def _groups(plan: SummationPlan, sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Split crystals, in order of size, into groups that waste and need little memory if padded."""
    # The largest arrays hold a phase for each atom and wave, and the vectors of the images.
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
    """Choose for each of c crystals the integer triples n for which n @ vectors is shortest.

    Args:
        grid: triples to choose from, shape (m, 3).
        vectors: lattice vectors of each crystal, shape (c, 3, 3).
        radii: radius within which each crystal needs all triples, shape (c,).

    Returns:
        The triples, shortest first, shape (c, k, 3), where k is the number that the crystal with
        the most triples needs. The other crystals also get some beyond their radius.
    """
    squared = (grid @ vectors).square().sum(dim=2)
    num_within = (squared <= radii.square()[:, None]).sum(dim=1)
    return grid[squared.topk(int(num_within.max()), largest=False).indices]


def _grid(extents: NDArray[np.int64], device: torch.device) -> Tensor:
    """List the integer triples within the largest of (c, 3) extents, shape (m, 3).

    Triples n and -n are mirror images about the middle of the list.
    """
    ranges = (
        torch.arange(-extent, extent + 1, dtype=torch.float64, device=device)
        for extent in extents.max(axis=0).tolist()
    )
    return torch.cartesian_prod(*ranges)


def _reciprocal_part(
    fractional: Tensor, pairs: Tensor, group: _Crystals, extents: NDArray[np.int64]
) -> Tensor:
    """Sum over g by a matrix product, as cos(2 pi g.(r_i - r_j)) = Re(S_gi conj(S_gj)).

    Returns:
        The reciprocal part of the sums of P pairs of each crystal, shape (c, P, 3).
    """
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
    """Sum the real-space series, shape (c, P, 3), in blocks of pairs to limit memory."""
    grid = _grid(extents, fractional.device)
    images = _nearest_points(grid, group.cells, group.image_radii_angstrom) @ group.cells
    num_pairs = max(1, _NUMBERS_PER_BLOCK // (images.shape[0] * images.shape[1]))
    blocks = [
        _real_block(fractional, block, images, group)
        for block in torch.split(pairs, num_pairs, dim=1)
    ]
    return torch.cat(blocks, dim=1)


def _real_block(fractional: Tensor, pairs: Tensor, images: Tensor, group: _Crystals) -> Tensor:
    """Sum the real-space series of p pairs of each crystal over its images.

    Args:
        fractional: coordinates in the compact cells, shape (c, N, 3).
        pairs: atoms i and j of the pairs, shape (2, p).
        images: vectors to the images, shortest first, shape (c, k, 3).
        group: the crystals.

    Returns:
        The real-space part of the sums, shape (c, p, 3).
    """
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
