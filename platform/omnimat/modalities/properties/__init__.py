"""Named numbers and classes of a record, such as a computed energy or band gap, as a modality."""

from __future__ import annotations

from omnimat.modalities.modality import Modality

_HERE = "omnimat.modalities.properties"

MODALITY = Modality(
    name="properties",
    label="a set of properties",
    stored=(),  # every record has its properties
    featurizers={"property_values": f"{_HERE}.features:PropertyValues"},
    encoders={"property_mlp": f"{_HERE}.mlp:PropertyMlpSettings"},
)
