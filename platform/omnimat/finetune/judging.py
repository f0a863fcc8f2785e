"""Which materials and properties judge the trials of a job."""

from __future__ import annotations

from omnimat.base.workspace import Workspace
from omnimat.evaluation.leakage import Judging
from omnimat.finetune.folds import judging_records
from omnimat.finetune.settings import FinetuneSettings
from omnimat.materials.split import SPLITS
from omnimat.shards.manifest import Manifest
from omnimat.training.seen import Materials


def judging(settings: FinetuneSettings, workspace: Workspace) -> Judging:
    """Give what validates and tests: of the data set's own split, or of any of the folds.

    Folds are told by the properties of the records, all of which are read.

    Raises:
        UserError: the data set is missing.
    """
    dataset = workspace.dataset(settings.dataset)
    if settings.folds is None:
        materials = Materials.of_splits(dataset, ("validation", "test"))
        return Judging(materials, ("validation", "test"), settings.judged)
    fingerprint = Manifest.load(dataset).dataset_fingerprint
    materials = Materials(dataset, fingerprint, judging_records(dataset, settings.folds))
    return Judging(materials, SPLITS, settings.judged)
