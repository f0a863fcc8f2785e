"""The settings of an MLP on the values of properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import NonNegativeInt, PositiveInt

from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.properties.features import PropertyValues


class PropertyMlpSettings(EncoderSettings):
    """Settings of the property MLP.

    Attributes:
        num_values: how many numbers describe a record; filled in from the featurizer.
        num_properties: how many properties may be known or not; filled in from the featurizer.
        hidden_widths: widths of the hidden layers, each followed by a layer norm and a GELU.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"hidden_widths": (32,)},
    }
    network: ClassVar[str] = "omnimat.modalities.properties.mlp_network:PropertyMlp"
    type: Literal["property_mlp"] = "property_mlp"
    num_values: NonNegativeInt = 0
    num_properties: NonNegativeInt = 0
    hidden_widths: tuple[PositiveInt, ...] = (256, 256)

    def fitted_to(self, featurizer: Featurizer) -> Self:
        """Take over the widths of the featurizer once its statistics are known.

        Raises:
            ValueError: the featurizer is not ``property_values``.
        """
        if not isinstance(featurizer, PropertyValues):
            raise ValueError(f"the encoder {self.type} needs the featurizer property_values")
        if featurizer.statistics is None:
            return self
        widths = {
            "num_values": featurizer.num_values,
            "num_properties": featurizer.num_properties,
        }
        return self.model_copy(update=widths)
