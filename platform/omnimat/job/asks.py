"""What a job has to run at the same time to make any progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from omnimat.stream.featurizers import FeaturizerSettings
from omnimat.stream.settings import FEATURIZER_NODES


@dataclass(frozen=True)
class Ask:
    """A number of equal processes.

    Attributes:
        who: what they are called in messages.
        key: key of the job file that decides how many there are and what they take.
        count: how many there are.
        each: the amount of each resource that one of them takes.
        labels: labels of the nodes where they run, if any node carries these.
    """

    who: str
    key: str
    count: int
    each: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def featurizers(cls, settings: FeaturizerSettings) -> Self:
        """Ask for the actors that featurize for a job."""
        each = {"CPU": settings.featurizer_num_cpus}
        count = settings.num_featurizer_actors
        return cls("featurizers", "num_featurizers", count, each, FEATURIZER_NODES)


Room = Callable[[Mapping[str, float]], int]
"""Counts how many processes that take these resources a cluster could hold at once."""
Phase = tuple[Ask, ...]
"""What runs at the same time; a job's phases follow each other."""
