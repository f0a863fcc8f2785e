"""What an evaluation is; importing this loads no Ray."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from omnimat.base.settings import Settings
from omnimat.evaluation.clusters import ClustersSettings
from omnimat.evaluation.discovery import DiscoverySettings
from omnimat.evaluation.duplicates import DuplicateRule
from omnimat.evaluation.maps import MapsSettings
from omnimat.evaluation.retrieval import RetrievalSettings
from omnimat.evaluation.section import Section
from omnimat.evaluation.zero_shot import ZeroShotSettings
from omnimat.materials.split import Split


class DownstreamSettings(Settings):
    """What every job on top of a pretraining run says.

    Attributes:
        dataset: name of an ingested data set.
        run: name of the pretraining run whose exported encoders are used.
        num_featurizers: actors, where the features have to be made first.
        featurizer_num_cpus: logical CPUs of each.
    """

    of_the_machine: ClassVar[frozenset[str]] = frozenset({"num_featurizers", "featurizer_num_cpus"})

    dataset: str
    run: str
    num_featurizers: int = Field(default=1, ge=1)
    featurizer_num_cpus: float = Field(default=1.0, gt=0)


class EvaluateSettings(DownstreamSettings):
    """What the encoders of a pretraining run know of a split; a section that is null is left out.

    Attributes:
        split: whose materials are queries and candidates.
        batch_size: materials embedded at a time.
        num_threads: of torch.
        duplicates: which materials count as the same (see ``evaluation.duplicates``).
        retrieval: each material found by another of its modalities.
        discovery: crystals found by a density of states.
        zero_shot: materials sorted by sentences.
        clusters: how crystal systems and modalities lie to each other.
        maps: the embeddings in two dimensions.
    """

    of_the_machine: ClassVar[frozenset[str]] = DownstreamSettings.of_the_machine | {"num_threads"}

    split: Split = "test"
    batch_size: int = Field(default=256, ge=1)
    num_threads: int = Field(default=1, ge=1)
    duplicates: DuplicateRule = "symmetry"
    # The sections, which run in this order.
    retrieval: RetrievalSettings | None = RetrievalSettings()
    discovery: DiscoverySettings | None = None
    zero_shot: ZeroShotSettings | None = None
    clusters: ClustersSettings | None = None
    maps: MapsSettings | None = None

    @property
    def sections(self) -> dict[str, Section]:
        """The sections to run, by key."""
        values = {name: getattr(self, name) for name in EvaluateSettings.model_fields}
        return {name: value for name, value in values.items() if isinstance(value, Section)}

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if not self.sections:
            raise ValueError("every section is null: leave retrieval in, or give another")
        return self
