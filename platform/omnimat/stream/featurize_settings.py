"""What a featurize job makes, and choices of modalities that hold what they name."""

from __future__ import annotations

import functools
from typing import Self

from omnimat.base.workspace import Workspace
from omnimat.modalities.choices import ModalityChoices
from omnimat.stream.featurizers import FeaturizerSettings
from omnimat.stream.training_records import training_records


def located_modalities(
    modalities: ModalityChoices, dataset: str, workspace: Workspace
) -> ModalityChoices:
    """Give choices complete in themselves, statistics measured on a data set's training split."""
    folder = workspace.dataset(dataset)
    return modalities.located(workspace, functools.partial(training_records, folder))


class FeaturizeSettings(FeaturizerSettings):
    """A data set's features, made ahead of the runs that read them.

    Attributes:
        dataset: name of an ingested data set.
        modalities: as in the pretrain job; of each the featurizer counts here.
    """

    dataset: str
    modalities: ModalityChoices

    def located(self, workspace: Workspace) -> Self:
        """Give the same settings holding the files they name.

        Raises:
            UserError: a file is not to be had.
        """
        located = located_modalities(self.modalities, self.dataset, workspace)
        return self.model_copy(update={"modalities": located})
