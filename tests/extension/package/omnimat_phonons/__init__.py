"""A phonon density of states: 51 non-negative numbers from 0 to 50 meV."""

import numpy as np

from omnimat.modalities.modality import Modality
from omnimat.modalities.storage import Array, Stored, checked, decode_npy, encode_npy

NUM_FREQUENCIES = 51


def check(curve: Array) -> Array:
    """Insist on 51 numbers, none below zero."""
    if checked(curve, 1).shape != (NUM_FREQUENCIES,) or np.min(curve) < 0:
        raise ValueError(f"a phonon DOS is {NUM_FREQUENCIES} numbers, none below zero")
    return curve


MODALITY = Modality(
    name="phonon_dos",
    label="a phonon density of states",
    stored=(
        Stored(
            "phonon_dos.npy",
            lambda curve: encode_npy(check(curve)),
            lambda data: check(decode_npy(data)),
        ),
    ),
    featurizers={"phonon_curve": "omnimat_phonons.features:PhononCurve"},
    # The encoder of electronic densities of states reads curves of any kind.
    encoders={"dos_transformer": "omnimat.modalities.dos.transformer:DosTransformerSettings"},
)
