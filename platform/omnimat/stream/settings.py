"""How records reach the trainers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from omnimat.base.settings import Settings
from omnimat.stream.featurizers import NumFeaturizers

ROLE_LABEL = "omnimat.io/role"
"""The label that says what a node of a cluster is for; the files in ``infra`` set it."""
FEATURIZER_NODES = {ROLE_LABEL: "featurizer"}


class StreamSettings(Settings):
    """The data side of a pretraining run; every number is for each train worker."""

    of_the_machine: ClassVar[frozenset[str]] = frozenset(
        {
            "read_from",
            "num_featurizers",
            "featurizer_num_cpus",
            "featurizer_label_selector",
            "num_readers",
            "reader_num_cpus",
            "read_unit_mib",
            "prefetch_batches",
            "stall_timeout_s",
        }
    )

    read_from: Literal["shards", "store"] = "shards"
    """``shards`` featurizes on the way; ``store`` reads what a featurize job wrote."""
    num_featurizers: NumFeaturizers = 1
    """Actors that featurize. ``auto``: as many as the CPUs that the cluster has beside its train
    workers, shared among these; give a number where nodes of their own carry the labels."""
    featurizer_num_cpus: float = Field(default=0.25, gt=0)
    """Logical CPUs of each."""
    featurizer_label_selector: Mapping[str, str] = FEATURIZER_NODES
    """Labels of the nodes where featurizers run; where no node carries them, they run anywhere."""
    num_readers: int = Field(default=1, ge=1)
    """Actors that read a store; under torchrun a thread of the worker does."""
    reader_num_cpus: float = Field(default=0.25, gt=0)
    """Logical CPUs of each, on the worker's own node if those are free."""
    shuffle_window_shards: int = Field(default=8, ge=1)
    """How many shards are shuffled together; the order of shards is random too."""
    read_unit_mib: float = Field(default=16.0, gt=0)
    """How many bytes of records are read at once, at most."""
    prefetch_batches: int = Field(default=4, ge=1)
    """Batches that are kept ready."""
    stall_timeout_s: float = Field(default=600.0, gt=0)
    """How long a worker waits for features until it fails and the run goes on from a checkpoint."""

    @property
    def num_featurizer_actors(self) -> int:
        """Actors that featurize; 1 while that is left open."""
        return 1 if self.num_featurizers == "auto" else self.num_featurizers

    @property
    def num_actors(self) -> int:
        """Actors that feed a worker: readers of a store, or featurizers."""
        return self.num_readers if self.read_from == "store" else self.num_featurizer_actors
