"""How records reach the trainers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from omnimat.base.settings import Settings

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
            "reader_num_cpus",
            "read_unit_mib",
            "prefetch_batches",
            "stall_timeout_s",
        }
    )

    read_from: Literal["shards", "store"] = "shards"
    """``shards`` featurizes on the way; ``store`` reads what a featurize job wrote."""
    num_featurizers: int = Field(default=1, ge=1)
    """Actors that featurize."""
    featurizer_num_cpus: float = Field(default=0.25, gt=0)
    """Logical CPUs of each."""
    featurizer_label_selector: Mapping[str, str] = FEATURIZER_NODES
    """Labels of the nodes where featurizers run; where no node carries them, they run anywhere."""
    reader_num_cpus: float = Field(default=0.25, gt=0)
    """Logical CPUs of the actor that reads a store, on the worker's own node if those are free."""
    shuffle_window_shards: int = Field(default=8, ge=1)
    """How many shards are shuffled together; the order of shards is random too."""
    read_unit_mib: float = Field(default=16.0, gt=0)
    """How many bytes of records are read at once, at most."""
    prefetch_batches: int = Field(default=4, ge=1)
    """Batches that are kept ready."""
    stall_timeout_s: float = Field(default=600.0, gt=0)
    """How long a worker waits for features until it fails and the run goes on from a checkpoint."""
