"""What an evaluation is; importing this loads no Ray."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from omnimat.materials.record import Modality
from omnimat.materials.settings import Settings
from omnimat.materials.split import Split


class DownstreamSettings(Settings):
    """What every job on top of a pretraining run says.

    Attributes:
        dataset: name of an ingested data set.
        run: name of the pretraining run whose exported encoders are used.
        num_featurizers: actors, where the features have to be made first.
        featurizer_num_cpus: logical CPUs of each.
    """

    dataset: str
    run: str
    num_featurizers: int = Field(default=1, ge=1)
    featurizer_num_cpus: float = Field(default=1.0, gt=0)


class EvaluateSettings(DownstreamSettings):
    """Cross-modal retrieval among the encoders of a pretraining run.

    Attributes:
        split: whose materials are queries and candidates.
        pairs: (query, key) modalities to report; None for all.
        batch_size: materials embedded at a time.
        num_threads: of torch.
    """

    split: Split = "test"
    pairs: tuple[tuple[Modality, Modality], ...] | None = Field(default=None, min_length=1)
    batch_size: int = Field(default=256, ge=1)
    num_threads: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _pairs_differ(self) -> Self:
        if any(query == key for query, key in self.pairs or ()):
            raise ValueError("pairs: a modality is not retrieved by itself; remove that pair")
        return self
