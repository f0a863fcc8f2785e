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
        if cutoff is not None and not _holds_all_within(featurizer, cutoff):
            raise ValueError(
                f"the encoder {self.type} takes the neighbours within {cutoff} angstrom: set "
                "featurizer.neighbors to within_cutoff and featurizer.cutoff_angstrom to "
                f"{cutoff}, or featurizer.neighbors to voronoi"
            )
        return self

    @property
    def needs_lattice_sums(self) -> bool:
        """Whether the encoder uses the lattice sums of atom pairs."""
        return False

    @property
    def needs_cutoff_angstrom(self) -> float | None:
        """Radius beyond which edges have no effect; None if all have one.

        Up to there a graph must hold all neighbours, or all that share a face of a Voronoi cell.
        """
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


def _holds_all_within(graph: CrystalGraph, cutoff_angstrom: float) -> bool:
    """Say whether the graph leaves no neighbour of its kind out below the cutoff."""
    if graph.neighbors == "within_cutoff":
        return graph.cutoff_angstrom >= cutoff_angstrom
    return graph.neighbors == "voronoi"
