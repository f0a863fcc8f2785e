"""Electron charge densities on a grid of the cell."""

from __future__ import annotations

from omnimat.modalities.modality import Modality
from omnimat.modalities.storage import Array, Stored, checked, decode_npy, encode_npy

_HERE = "omnimat.modalities.charge_density"


def encode(density: Array) -> bytes:
    """Write a density on the fractional grid as bytes.

    Args:
        density: density in CHGCAR units (density times cell volume), shape (nx, ny, nz).

    Raises:
        ValueError: it is empty, does not have three axes, or holds a value that is not finite.
    """
    return encode_npy(checked(density, 3))


def decode(data: bytes) -> Array:
    """Read and check what ``encode`` writes."""
    return checked(decode_npy(data), 3)


MODALITY = Modality(
    name="charge_density",
    label="a charge density",
    stored=(Stored("charge_density.npy", encode, decode),),
    featurizers={"charge_density_grid": f"{_HERE}.features:ChargeDensityGrid"},
    encoders={"density_resnext": f"{_HERE}.resnext:DensityResNeXtSettings"},
    augmentation=f"{_HERE}.augment:ChargeDensityAugmentation",
)
