"""The settings of an MLP for composition descriptors (UniMat, Ock et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import PositiveInt

from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer


class CompositionMlpSettings(EncoderSettings):
    """Settings of the composition MLP; UniMat specifies no widths, so these are our own.

    Attributes:
        input_width: number of features of a composition.
        hidden_widths: widths of the hidden layers.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"hidden_widths": (64,)},
    }
    network: ClassVar[str] = "omnimat.modalities.composition.mlp_network:CompositionMlp"
    has_fixed_shapes: ClassVar[bool] = True
    type: Literal["composition_mlp"] = "composition_mlp"
    input_width: PositiveInt = 132
    hidden_widths: tuple[PositiveInt, ...] = (512, 512)

    def fitted_to(self, featurizer: Featurizer) -> Self:
        """Return the same settings.

        Raises:
            ValueError: the featurizer does not give Magpie features.
        """
        if "magpie" not in {field.name for field in featurizer.fields}:
            raise ValueError(
                f"the encoder {self.type} cannot read {featurizer.type}: set featurizer.type to "
                "magpie, or encoder to null if the modality is only predicted"
            )
        return self
