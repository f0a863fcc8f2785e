"""What the settings of the encoders of crystal graphs share."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PositiveFloat

from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.structure.features import CrystalGraph

Pool = Literal["mean", "sum"]


class CrystalEncoderSettings(EncoderSettings):
    """Settings of an encoder of crystal graphs, and what it needs from the featurizer."""

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
        """Whether the encoder uses the lattice sums of atom pairs."""
        return False

    @property
    def needs_cutoff_angstrom(self) -> float | None:
        """Radius within which the graph must hold all neighbours; None if any graph will do."""
        return None


class CutoffEncoderSettings(CrystalEncoderSettings):
    """Settings of an encoder with one embedding per atom, whose messages vanish at a cutoff.

    Attributes:
        cutoff_angstrom: distance at which messages vanish.
        pool: whether a crystal's embedding is the mean or the sum of those of its atoms.
    """

    cutoff_angstrom: PositiveFloat
    pool: Pool = "mean"

    @property
    def needs_cutoff_angstrom(self) -> float:
        """The cutoff of the encoder."""
        return self.cutoff_angstrom
