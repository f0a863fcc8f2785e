"""The curve under the names that the encoder of electronic densities of states reads."""

from typing import ClassVar, Literal

import numpy as np

from omnimat.materials.record import Record
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field
from omnimat_phonons import NUM_FREQUENCIES


class PhononCurve(FeaturizerSettings):
    """Phonon energies and the density at them."""

    modality: ClassVar[str] = "phonon_dos"
    index_columns: ClassVar[tuple[str, ...]] = ("has_phonon_dos",)
    fields: ClassVar[tuple[Field, ...]] = (
        Field("energies_ev", "float32", (NUM_FREQUENCIES,)),
        Field("dos_per_ev", "float32", (NUM_FREQUENCIES,)),
    )

    type: Literal["phonon_curve"] = "phonon_curve"

    def __call__(self, record: Record) -> Arrays | None:
        """Give the curve, or None where the record has none."""
        curve = record.parts.get("phonon_dos")
        if curve is None:
            return None
        energies = np.linspace(0, 0.05, NUM_FREQUENCIES, dtype=np.float32)
        return {"energies_ev": energies, "dos_per_ev": curve.astype(np.float32)}
