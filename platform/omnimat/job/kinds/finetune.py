"""Jobs of kind ``finetune``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Self

from upath import UPath

from omnimat.base.lease import Fence
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.targets import (
    check_fold_property,
    check_folds,
    check_names,
    check_targets,
)
from omnimat.job.asks import Ask, Phase, Room
from omnimat.job.job import Job, RunJob
from omnimat.job.kinds.ingest import IngestJob
from omnimat.job.leakage import find_leakage_early, find_leakage_of_package
from omnimat.shards.manifest import MANIFEST_NAME, Manifest

if TYPE_CHECKING:
    from omnimat.evaluation.leakage import Judging


class FinetuneJob(RunJob[FinetuneSettings]):
    """Trains pretrained encoders to predict properties, over learning rates and seeds."""

    kind = "finetune"
    writes_rows = True
    settings_type = FinetuneSettings

    def phases(self, room: Room | None = None) -> tuple[Phase, ...]:
        """Ask for the featurizers, and then for one trial: the others can wait for it."""
        settings = self.settings
        trial = Ask("trials", "cpus_per_trial and gpus_per_trial", 1, settings.trial_resources)
        return (
            (Ask.featurizers(settings.num_featurizers, settings.featurizer_num_cpus),),
            (trial,),
        )

    def on_devices(self, num_gpus: float) -> Self:
        """Give each trial a GPU if there is any."""
        if self.settings.gpus_per_trial != "auto":
            return self
        update = {"gpus_per_trial": float(num_gpus >= 1)}
        return self.with_settings(self.settings.model_copy(update=update))

    def check(self) -> None:
        """Find out where the leaderboard is, which is written to only at the end.

        If the data set is there, it must have the targets, in every split or in every fold. A
        packed model must have the encoders.
        """
        _ = self.workspace.leaderboard_url
        settings = self.settings
        if settings.model:
            from omnimat.inference.start import opened

            opened(settings.model, settings.modalities)
        if settings.folds is not None:
            if self._is_ingested:
                check_folds(settings.tasks, settings.folds, self._dataset)
            return
        for dataset, splits in settings.splits_of().items():
            folder = self.workspace.dataset(dataset)
            if (folder / MANIFEST_NAME).exists():
                check_targets(settings.tasks, Manifest.load(folder), splits)

    def check_after(self, needed: Sequence[Job[Any]]) -> None:
        """Find out whether one of these jobs ingests the data set with the targets and folds.

        Refuse to judge by what the inputs or the pretraining have shown, as far as is known.
        """
        _ = self.remarks(needed)
        for job in needed:
            if not isinstance(job, IngestJob) or self._is_ingested:
                continue
            names = job.settings.property_names() if self._is_made_by(job) else None
            if names is not None:
                told = f"data set {job.name} is not ingested yet, and no record of it can have"
                check_names(self.settings.tasks, names, told)
                if self.settings.folds is not None:
                    check_fold_property(self.settings.folds, names, told)

    def remarks(self, needed: Sequence[Job[Any]] = ()) -> list[str]:
        """Say how many of the materials the pretraining sees by their formula."""
        settings = self.settings
        if settings.is_from_scratch:
            return []
        if settings.model:
            return find_leakage_of_package(settings.model, settings, self.workspace, self._judging)
        return find_leakage_early(settings, self.workspace, needed, self._judging)

    def prepared(self) -> Self:
        """Make a run of the packed model that the job starts from, if it starts from one."""
        if not self.settings.model:
            return self
        from omnimat.inference.start import as_run, opened

        run = as_run(opened(self.settings.model), self.workspace)
        return self.with_settings(self.settings.model_copy(update={"run": run, "model": ""}))

    def _judging(self, modalities: Collection[str]) -> Judging:
        from omnimat.finetune.judging import judging

        del modalities
        return judging(self.settings, self.workspace)

    @property
    def _dataset(self) -> UPath:
        return self.workspace.dataset(self.settings.dataset)

    @property
    def _is_ingested(self) -> bool:
        return (self._dataset / MANIFEST_NAME).exists()

    def _is_made_by(self, job: IngestJob) -> bool:
        return job.workspace.dataset(job.name) == self._dataset

    def execute(self, fence: Fence) -> None:
        """Run the trials that have not ended yet, and score the best."""
        from omnimat.finetune.sweep import run_sweep

        run_sweep(self.name, self.settings, self.workspace, fence)
