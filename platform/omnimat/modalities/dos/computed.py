"""Densities of states as electronic structure codes give them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnimat.modalities.dos import DensityOfStates

Float = NDArray[np.float64]


def relative_to_fermi_level(
    energies_ev: Float, fermi_level_ev: float, up_per_ev: Float, down_per_ev: Float | None
) -> DensityOfStates:
    """Put the Fermi level at zero and tell the spins apart.

    Args:
        energies_ev: energies on the code's own scale, shape (n,).
        fermi_level_ev: Fermi level on the same scale.
        up_per_ev: density of spin up or, if there is no other, of both spins, shape (n,).
        down_per_ev: density of spin down, shape (n,); None if the calculation is not
            spin-polarized, so that ``up_per_ev`` is the sum of two equal channels.

    Raises:
        ValueError: the lengths differ, the energies do not increase, or a number is not finite.
    """
    shifted_ev = (energies_ev - fermi_level_ev).astype(np.float32)
    up, down = (up_per_ev / 2, up_per_ev / 2) if down_per_ev is None else (up_per_ev, down_per_ev)
    if not len(shifted_ev) == len(up) == len(down):
        raise ValueError("its energies and densities differ in length")
    if not (np.diff(shifted_ev) > 0).all():
        raise ValueError("its energies do not increase")
    if not (np.isfinite(up).all() and np.isfinite(down).all()):
        raise ValueError("it holds numbers that are not finite")
    return DensityOfStates(shifted_ev, up.astype(np.float32), down.astype(np.float32))
