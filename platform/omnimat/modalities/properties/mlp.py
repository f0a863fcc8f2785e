"""The settings of an MLP on values of which some may be missing, such as properties."""

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
        num_properties: length of the mask of what is known; filled in from the featurizer.
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
        """Take over the widths of the featurizer once they are known.

        Raises:
            ValueError: the featurizer does not give values and a mask of those that are known.
        """
        vector = featurizer.vector
        if vector is None or (vector.name, vector.mask) != ("values", "is_known"):
            raise ValueError(
                f"the encoder {self.type} needs values and a mask of those that are known, as the "
                "featurizers property_values and chgnet_strain give them"
            )
        if isinstance(featurizer, PropertyValues) and featurizer.statistics is None:
            return self
        widths = {"num_values": vector.size, "num_properties": len(vector.widths)}
        return self.model_copy(update=widths)
