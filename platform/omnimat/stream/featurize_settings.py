"""What a featurize job makes, and choices of modalities that hold what they name."""

from __future__ import annotations

import functools
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from omnimat.base.settings import Settings
from omnimat.base.workspace import Workspace
from omnimat.modalities.choices import ModalityChoices
from omnimat.stream.losses import DEFAULT_MAX_QUARANTINED, MaxQuarantined
from omnimat.stream.training_records import training_records


def located_modalities(
    modalities: ModalityChoices, dataset: str, workspace: Workspace
) -> ModalityChoices:
    """Give choices complete in themselves, statistics measured on a data set's training split."""
    folder = workspace.dataset(dataset)
    return modalities.located(workspace, functools.partial(training_records, folder))


class FeaturizeSettings(Settings):
    """A data set's features, made ahead of the runs that read them.

    Attributes:
        dataset: name of an ingested data set.
        modalities: as in the pretrain job; of each the featurizer counts here.
        num_featurizers: actors; ``auto`` is one for each CPU of the cluster.
        featurizer_num_cpus: logical CPUs of each.
        max_quarantined: the largest share of the records that may be quarantined; with more the job
            fails, and keeps what it has made.
    """

    of_the_machine: ClassVar[frozenset[str]] = frozenset({"max_quarantined"})

    dataset: str
    modalities: ModalityChoices
    num_featurizers: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    featurizer_num_cpus: float = Field(default=1.0, gt=0)
    max_quarantined: MaxQuarantined = DEFAULT_MAX_QUARANTINED

    @property
    def num_featurizer_actors(self) -> int:
        """Actors that featurize; 1 while that is left open."""
        return 1 if self.num_featurizers == "auto" else self.num_featurizers

    def located(self, workspace: Workspace) -> Self:
        """Give the same settings holding the files they name.

        Raises:
            UserError: a file is not to be had.
        """
        located = located_modalities(self.modalities, self.dataset, workspace)
        return self.model_copy(update={"modalities": located})
