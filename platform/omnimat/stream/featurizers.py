"""How many actors featurize, and what each of them takes; importing this loads no Ray."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from omnimat.base.settings import Settings
from omnimat.stream.losses import DEFAULT_MAX_QUARANTINED, MaxQuarantined

NumFeaturizers = Annotated[int, Field(ge=1)] | Literal["auto"]
"""A number of actors, or as many as there are CPUs for."""


def num_that_fit(num_cpus: float, each: float) -> int:
    """Count the featurizers that ``auto`` stands for: one for each CPU, but at least one.

    Args:
        num_cpus: CPUs that nothing else takes at the same time.
        each: logical CPUs of a featurizer. Of less than a whole CPU there is still one for each.
    """
    return max(1, int(num_cpus / max(1.0, each)))


class FeaturizerSettings(Settings):
    """The actors that featurize for a job, and what may be lost on the way.

    Attributes:
        num_featurizers: how many actors make the features, where these are not there yet; ``auto``
            is one for each CPU of the cluster that no other process of the job takes.
        featurizer_num_cpus: how many logical CPUs each of them has.
        max_quarantined: the largest share of the records that may be quarantined; with more the job
            fails, and keeps what it has made.
    """

    of_the_machine: ClassVar[frozenset[str]] = frozenset(
        {"num_featurizers", "featurizer_num_cpus", "max_quarantined"}
    )

    num_featurizers: NumFeaturizers = 1
    featurizer_num_cpus: float = Field(default=1.0, gt=0)
    max_quarantined: MaxQuarantined = DEFAULT_MAX_QUARANTINED

    @property
    def num_featurizer_actors(self) -> int:
        """Actors that featurize; 1 while that is left open."""
        return 1 if self.num_featurizers == "auto" else self.num_featurizers

    def with_featurizers(self, num_cpus: float) -> Self:
        """Give the same settings with ``auto`` decided.

        Args:
            num_cpus: how many CPUs there are for featurizers.
        """
        if self.num_featurizers != "auto":
            return self
        number = num_that_fit(num_cpus, self.featurizer_num_cpus)
        return self.model_copy(update={"num_featurizers": number})
