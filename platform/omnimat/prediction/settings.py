"""What a prediction or an index is; importing this loads neither Ray nor torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from omnimat.base.child import Limits
from omnimat.base.registry import OneOf
from omnimat.modalities.registry import ModalityName
from omnimat.sources.base import RemoteSource, Source
from omnimat.sources.registry import SOURCES
from omnimat.stream.featurizers import FeaturizerSettings

Output = Literal["predictions", "embeddings", "both"]
Wanted = Output | Literal["index"]
"""What is wanted of a model: an output, or all that an index holds."""


class AppliedSettings(FeaturizerSettings, ABC):
    """A packed model and the materials to which it is applied.

    Attributes:
        model: folder or zip that ``omnimat package`` made.
        dataset: name of an ingested data set with the materials; or else a ``source``.
        source: where the materials are read from, as in an ingest job; without ``type``, files.
        modality: the modality whose encoder embeds; None for the first that the model has.
        rows_per_part: how many materials a part of the table holds, and so a start that was killed
            may have to do again; of a data set fewer, where its records are large.
        num_models: how many actors apply the model.
        model_num_cpus: how many logical CPUs each of them has; torch uses as many threads.
        gpus_per_model: how many logical GPUs each of them has; ``auto`` is one where the cluster
            has any.
        max_item_cpu_s: largest CPU time of reading one material; one that takes more is
            quarantined.
        max_item_memory_gb: largest memory of the same, in 10^9 bytes.
    """

    of_the_machine: ClassVar[frozenset[str]] = FeaturizerSettings.of_the_machine | {
        "num_models",
        "model_num_cpus",
        "gpus_per_model",
    }

    model: str
    dataset: str | None = None
    source: Annotated[Source, OneOf(SOURCES, default="files")] | None = None
    modality: ModalityName | None = None
    rows_per_part: int = Field(default=2048, ge=1)
    num_models: int = Field(default=1, ge=1)
    model_num_cpus: float = Field(default=1.0, gt=0)
    gpus_per_model: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    max_item_cpu_s: int = Field(default=120, ge=1)
    max_item_memory_gb: float = Field(default=4.0, gt=0)

    @property
    def item_limits(self) -> Limits:
        """Limits of reading one material."""
        return Limits(self.max_item_cpu_s, self.max_item_memory_gb)

    @property
    def model_resources(self) -> dict[str, float]:
        """What Ray reserves for a model; no GPU as long as that is left open."""
        num_gpus = 0.0 if self.gpus_per_model == "auto" else self.gpus_per_model
        amounts = {"CPU": self.model_num_cpus, "GPU": num_gpus}
        return {name: amount for name, amount in amounts.items() if amount}

    @model_validator(mode="after")
    def _has_one_input(self) -> Self:
        if (self.dataset is None) == (self.source is None):
            raise ValueError("dataset: give either dataset or source, which holds the materials")
        if isinstance(self.source, RemoteSource):
            raise ValueError(
                f"source: what {self.source.type} gives changes from day to day; ingest it, and "
                "name the data set"
            )
        return self

    @property
    @abstractmethod
    def wanted(self) -> Wanted:
        """What is wanted of the model."""


class PredictSettings(AppliedSettings):
    """A packed model and the materials for which it predicts or that it embeds.

    Attributes:
        output: what is written of each material.
    """

    output: Output = "predictions"

    @property
    def wanted(self) -> Wanted:
        """What is wanted of the model."""
        return self.output

    @model_validator(mode="after")
    def _embeds_if_a_modality_is_named(self) -> Self:
        if self.modality is not None and self.output == "predictions":
            raise ValueError("modality: it says what embeds; set output to embeddings or both")
        return self


class IndexSettings(AppliedSettings):
    """A packed model and the materials that it embeds, and predicts if it can, for searches."""

    @property
    def wanted(self) -> Wanted:
        """What is wanted of the model."""
        return "index"
