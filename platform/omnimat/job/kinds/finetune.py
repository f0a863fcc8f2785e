"""Jobs of kind ``finetune``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from upath import UPath

from omnimat.base.lease import Fence
from omnimat.base.workspace import EXPORT
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.targets import (
    check_fold_property,
    check_folds,
    check_names,
    check_targets,
)
from omnimat.job.asks import Ask, Phase, Room
from omnimat.job.held_out import is_ingested, refuse_missing
from omnimat.job.job import Job, RunJob
from omnimat.job.kinds.ingest import IngestJob
from omnimat.job.kinds.pretrain import PretrainJob
from omnimat.job.leakage import find_leakage_early, find_leakage_of_package
from omnimat.shards.manifest import Manifest
from omnimat.stream.featurize_settings import located_modalities

if TYPE_CHECKING:
    from omnimat.evaluation.leakage import Judging
    from omnimat.modalities.layout import Featurizer


class FinetuneJob(RunJob[FinetuneSettings]):
    """Trains pretrained encoders to predict properties, over learning rates and seeds."""

    kind = "finetune"
    writes_rows = True
    settings_type = FinetuneSettings

    def phases(self, room: Room | None = None) -> tuple[Phase, ...]:
        """Ask for the featurizers, and then for one trial: the others can wait for it."""
        settings = self.settings
        trial = Ask("trials", "cpus_per_trial and gpus_per_trial", 1, settings.trial_resources)
        return ((Ask.featurizers(settings),), (trial,))

    def on_devices(self, num_gpus: float, num_cpus: float = 1.0) -> Self:
        """Give each featurizer a CPU, and each trial a GPU if there is any."""
        settings = self.settings.with_featurizers(num_cpus)
        if settings.gpus_per_trial == "auto":
            settings = settings.model_copy(update={"gpus_per_trial": float(num_gpus >= 1)})
        return self.with_settings(settings)

    def check(self) -> None:
        """Find out where the leaderboard is, which is written to only at the end.

        If the data set is there, it must have the targets, in every split or in every fold. A
        packed model must have the encoders.
        """
        _ = self.workspace.leaderboard_url
        settings = self.settings
        if settings.model:
            from omnimat.inference.start import cards_with, opened

            added = () if settings.added is None else settings.added.names
            packed = [name for name in settings.modalities if name not in added]
            cards_with(opened(settings.model, packed), settings.added)
        if settings.folds is not None:
            if self._is_ingested:
                check_folds(settings.tasks, settings.folds, self._dataset)
            return
        for dataset, splits in settings.splits_of().items():
            if is_ingested(self.workspace, dataset):
                manifest = Manifest.load(self.workspace.dataset(dataset))
                check_targets(settings.tasks, manifest, splits)

    def check_after(self, needed: Sequence[Job[Any]]) -> None:
        """Find out whether one of these jobs ingests the data set with the targets and folds.

        What is held out must be there after them, and what the encoders take must be able to vary.

        Refuse to judge by what the inputs or the pretraining have shown, as far as is known.
        """
        _ = self.remarks(needed)
        if self.unfinished is not None and self._is_ingested:
            refuse_missing(self.settings.held_out, self.workspace, needed)
        if self.settings.augmentation.chosen():
            self.settings.augmentation.check(self._featurizers(needed))
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
        """Say how many of the materials are seen before by their formula."""
        return self._remarks_on_pretraining(needed) + self._remarks_on_training()

    def _remarks_on_pretraining(self, needed: Sequence[Job[Any]]) -> list[str]:
        """Say it of what the trials start from."""
        settings = self.settings
        if settings.is_from_scratch or not is_ingested(self.workspace, settings.judging_dataset):
            return []
        if settings.model:
            return find_leakage_of_package(settings, self.workspace, self._judging)
        return find_leakage_early(settings, self.workspace, needed, self._judging)

    def _remarks_on_training(self) -> list[str]:
        """Say it of what the trials themselves learn from, if another data set judges them."""
        names = (*self.settings.splits_of(), *(one.dataset for one in self.settings.held_out))
        are_there = all(is_ingested(self.workspace, name) for name in names)
        if self.settings.test_dataset is None or not are_there:
            return []
        from omnimat.finetune.judging import Transfer

        return [Transfer.of(self.settings, self.workspace).remark]

    def _featurizers(self, needed: Sequence[Job[Any]]) -> Mapping[str, Featurizer]:
        """Give the featurizers of the encoders, as far as they are known before these jobs."""
        from omnimat.models.inputs import featurizers_of, read_cards

        settings, run = self.settings, self.workspace.run(self.settings.run)
        if settings.model:
            from omnimat.inference.start import cards_with, opened

            return featurizers_of(cards_with(opened(settings.model), settings.added))
        if (run / EXPORT).exists():
            return featurizers_of(read_cards(run))
        planned = [one for one in needed if isinstance(one, PretrainJob) and one.name == run.name]
        return planned[0].settings.modalities.featurizers() if planned else {}

    def prepared(self) -> Self:
        """Make a run of the packed model that the job starts from, if it starts from one."""
        settings, added = self.settings, self.settings.added
        if not settings.model:
            return self
        from omnimat.inference.start import as_run, opened

        if added is not None:
            added = located_modalities(added, settings.dataset, self.workspace)
        run = as_run(opened(settings.model), self.workspace, added)
        update = {"run": run, "model": "", "added": None}
        return self.with_settings(settings.model_copy(update=update))

    def _judging(self, modalities: Collection[str]) -> Judging:
        from omnimat.finetune.judging import judging

        del modalities
        return judging(self.settings, self.workspace)

    @property
    def _dataset(self) -> UPath:
        return self.workspace.dataset(self.settings.dataset)

    @property
    def _is_ingested(self) -> bool:
        return is_ingested(self.workspace, self.settings.dataset)

    def _is_made_by(self, job: IngestJob) -> bool:
        return job.workspace.dataset(job.name) == self._dataset

    def execute(self, fence: Fence) -> None:
        """Run the trials that have not ended yet, and score the best."""
        from omnimat.finetune.sweep import run_sweep

        run_sweep(self.name, self.settings, self.workspace, fence)
