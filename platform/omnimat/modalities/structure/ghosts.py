"""Atoms and edges without effect, so that batches of graphs have few different sizes.

Each batch has its own number of atoms and of edges. For each size it has not met, oneDNN writes
new machine code, and keeps it, and the allocator has no block that fits: a seventh of a training
step in bfloat16 and most of its memory (``jobs/benchmarks/batch_sizes.py``). With at most 32 sizes
from each power of two to the next, nearly all are met again. Products in float32 need no code of
their own, so there ghosts would only cost.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

_SIZES_PER_OCTAVE = 32
_HYDROGEN = 1


def with_ghosts(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add one crystal of ghosts: at least one atom, and edges whose messages vanish.

    Args:
        arrays: of n crystals, ``atomic_numbers`` (atoms,), ``edge_sources`` and ``edge_targets``
            (edges,), ``edge_vectors_angstrom`` (edges, 3), ``num_atoms`` (n,), and it may be
            ``reduced_lattice_angstrom`` (n, 3, 3) and ``site_multiplicity`` (atoms,).

    Returns:
        The same of n + 1 crystals, with at most a 32nd more atoms and edges, but one atom. The
        last crystal is to be left out of what is computed.
    """
    num_atoms, num_edges = len(arrays["atomic_numbers"]), len(arrays["edge_sources"])
    more_atoms = _rounded_up(num_atoms + 1) - num_atoms
    more_edges = _rounded_up(num_edges) - num_edges
    padded = {
        "atomic_numbers": F.pad(arrays["atomic_numbers"], (0, more_atoms), value=_HYDROGEN),
        "num_atoms": F.pad(arrays["num_atoms"], (0, 1), value=more_atoms),
        # A zero vector is an edge without effect.
        "edge_vectors_angstrom": F.pad(arrays["edge_vectors_angstrom"], (0, 0, 0, more_edges)),
    }
    for end in ("edge_sources", "edge_targets"):
        padded[end] = F.pad(arrays[end], (0, more_edges), value=num_atoms)
    if "reduced_lattice_angstrom" in arrays:
        lattices = arrays["reduced_lattice_angstrom"]
        unit = torch.eye(3, dtype=lattices.dtype, device=lattices.device)
        padded["reduced_lattice_angstrom"] = torch.cat([lattices, unit[None]])
    if "site_multiplicity" in arrays:
        padded["site_multiplicity"] = F.pad(arrays["site_multiplicity"], (0, more_atoms))
    return padded


def _rounded_up(count: int) -> int:
    """Return the next of 32 sizes an octave; the sizes up to 32 are all of them."""
    step = max(1, (1 << max(count - 1, 1).bit_length()) // (2 * _SIZES_PER_OCTAVE))
    return -(-count // step) * step
