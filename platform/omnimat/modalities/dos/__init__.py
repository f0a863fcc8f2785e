"""Electronic densities of states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.modalities.modality import Modality
from omnimat.modalities.storage import Stored, checked_curve, decode_npz, encode_npz

_HERE = "omnimat.modalities.dos"


@dataclass(frozen=True, slots=True)
class DensityOfStates:
    """Electronic density of states on the material's own energy grid.

    Attributes:
        energies_ev: energies relative to the Fermi level, increasing, float32 of shape (n,).
        spin_up_per_ev: density of the channel of spin up, float32 of shape (n,).
        spin_down_per_ev: density of the channel of spin down, float32 of shape (n,); None where
            only one channel is known.
    """

    energies_ev: NDArray[np.float32]
    spin_up_per_ev: NDArray[np.float32]
    spin_down_per_ev: NDArray[np.float32] | None = None


def encode(dos: DensityOfStates) -> bytes:
    """Write a density of states as arrays.

    Raises:
        ValueError: the lengths differ, the energies do not increase, or a number is not finite.
    """
    arrays = {"energies_ev": dos.energies_ev, "spin_up_per_ev": dos.spin_up_per_ev}
    if dos.spin_down_per_ev is not None:
        arrays["spin_down_per_ev"] = dos.spin_down_per_ev
    return encode_npz(_checked(arrays))


def decode(data: bytes) -> DensityOfStates:
    """Read and check what ``encode`` writes."""
    return DensityOfStates(**_checked(decode_npz(data)))


def _checked(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    checked_curve(arrays, "energies_ev", "energies and densities of states")
    return arrays


MODALITY = Modality(
    name="dos",
    label="a density of states",
    stored=(Stored("dos.npz", encode, decode),),
    featurizers={"dos_curve": f"{_HERE}.features:DosCurve"},
    encoders={"dos_transformer": f"{_HERE}.transformer:DosTransformerSettings"},
    query=f"{_HERE}.query:QUERY",
)
