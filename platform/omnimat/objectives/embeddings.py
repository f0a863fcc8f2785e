"""What the encoders hand to an objective: one embedding a material and modality."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from omnimat.materials.record import Modality


# No slots: the hooks of DeepSpeed ZeRO-3 look into the __dict__ of what a module returns.
@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a batch of B materials.

    Attributes:
        values: For each modality a (B, d) tensor. Rows have unit L2 norm where the modality is
            present and are zero where it is missing.
        present: For each modality a boolean (B,) tensor that says which rows are present.
    """

    values: Mapping[Modality, Tensor]
    present: Mapping[Modality, Tensor]
