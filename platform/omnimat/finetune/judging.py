"""Which materials and properties judge the trials of a job, and what trials learn from of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Self

import pandas as pd

from omnimat.base.workspace import Workspace
from omnimat.evaluation.leakage import Judging
from omnimat.evaluation.overlap import Overlap, kept_overlap, same_formula, without_formula
from omnimat.finetune.folds import judging_records
from omnimat.finetune.settings import FinetuneSettings
from omnimat.leaderboard.overlap import TrainingOverlap
from omnimat.materials.split import SPLITS, Split
from omnimat.shards.manifest import Manifest
from omnimat.training.held_out import are_held_out, folders_of
from omnimat.training.seen import Materials


def judging(settings: FinetuneSettings, workspace: Workspace) -> Judging:
    """Give what validates and tests: of the data set's own split, or of any of the folds.

    Folds are told by the properties of the records, all of which are read. Where another data set
    judges, it is its test part alone: what validates is of the data set that is learned from.

    Raises:
        UserError: the data set is missing.
    """
    dataset = workspace.dataset(settings.judging_dataset)
    if settings.folds is None:
        splits: tuple[Split, ...] = ("validation", "test")
        splits = splits if settings.test_dataset is None else ("test",)
        return Judging(Materials.of_splits(dataset, splits), splits, settings.judged)
    fingerprint = Manifest.load(dataset).dataset_fingerprint
    materials = Materials(dataset, fingerprint, judging_records(dataset, settings.folds))
    return Judging(materials, SPLITS, settings.judged)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Two data sets: trials learn from the one, and the other judges them.

    Attributes:
        learned: the materials that train and validate, without those that are held out.
        judging: the test materials of the other data set.
    """

    learned: Materials
    judging: Materials

    @classmethod
    def of(cls, settings: FinetuneSettings, workspace: Workspace) -> Self:
        """Look up both in the record indices.

        Raises:
            UserError: a data set is missing.
        """
        learns: tuple[Split, ...] = ("train", "validation")
        judges: tuple[Split, ...] = ("test",)
        learned = Materials.of_splits(workspace.dataset(settings.dataset), learns)
        folders = folders_of(settings.held_out, workspace)
        held_out = zip(settings.held_out, folders, strict=True)
        records: pd.DataFrame = learned.records[~are_held_out(learned.records, held_out)]
        judging = Materials.of_splits(workspace.dataset(settings.judging_dataset), judges)
        return cls(replace(learned, records=records), judging)

    def overlap(self, workspace: Workspace) -> Overlap:
        """Find out which materials judge and were learned from; what was found is kept."""
        return kept_overlap(workspace, self.judging, self.learned)

    def of_tested(self, overlap: Overlap, material_ids: Collection[str]) -> TrainingOverlap:
        """Give what a row tells whose model was tested on these materials."""
        return TrainingOverlap(
            dataset=self.learned.dataset.name,
            dataset_fingerprint=self.learned.dataset_fingerprint,
            num_learned=len(self.learned.records),
            test=overlap.counts(material_ids),
        )

    @property
    def remark(self) -> str:
        """How many formulas both have, and how trials can be kept from them."""
        judging, learned = self.judging, self.learned
        count, unknown = len(same_formula(judging, learned)), len(without_formula(judging))
        name = judging.dataset.name
        told = [
            f"{count:,} of {len(judging.records):,} test materials of data set {name} have the "
            f"formula of one of the {len(learned.records):,} that train and validate, of data set "
            f"{learned.dataset.name}"
        ]
        if count:
            told.append(f"to rule this out, held_out: [{{dataset: {name}, splits: [test]}}]")
        if unknown:
            told.append(f"{unknown:,} have no formula, so nobody knows of them")
        return "; ".join(told)
