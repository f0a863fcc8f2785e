"""How a crystal answers to strain according to a force field: energy, pressure and stiffness."""

from __future__ import annotations

from omnimat.modalities.modality import Modality

MODALITY = Modality(
    name="elastic_response",
    label="an elastic response",
    stored=(),  # it follows from the structure
    featurizers={"chgnet_strain": "omnimat.modalities.elastic_response.features:ChgnetStrain"},
    encoders={"property_mlp": "omnimat.modalities.properties.mlp:PropertyMlpSettings"},
)
