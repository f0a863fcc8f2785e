"""The geometry of a crystal in numbers of fixed size, which encoders can be trained to predict."""

from __future__ import annotations

from omnimat.modalities.modality import Modality

MODALITY = Modality(
    name="geometry",
    label="a geometry",
    stored=(),  # it follows from the structure
    featurizers={"pair_density": "omnimat.modalities.geometry.features:PairDensity"},
    encoders={},
)
