"""Jobs of kind ``pretrain``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from omnimat.base.lease import Fence
from omnimat.job.asks import Ask, Phase, Room
from omnimat.job.held_out import is_ingested, refuse_missing
from omnimat.job.job import Job, RunJob
from omnimat.stream.featurizers import num_that_fit
from omnimat.stream.settings import StreamSettings
from omnimat.training.settings import PretrainSettings, TrainingSettings

if TYPE_CHECKING:
    from omnimat.training.plan import RunPlan


class PretrainJob(RunJob[PretrainSettings]):
    """Aligns the encoders of several modalities on the training split of a data set."""

    kind = "pretrain"
    settings_type = PretrainSettings
    imports = ("omnimat.training.pretrain", "omnimat.training.forecast.expectation")

    @cached_property
    def plan(self) -> RunPlan:
        """What the run will do.

        Raises:
            UserError: the data set is missing, too small, or lacks a modality.
        """
        from omnimat.training.plan import make_plan

        return make_plan(self.name, self.settings, self.workspace)

    def phases(self, room: Room | None = None) -> tuple[Phase, ...]:
        """Ask for workers and what feeds them.

        If a run may have fewer workers, Ray starts as many as fit, even if that leaves no room for
        their featurizers.
        """
        training, stream = self.settings.training, self.settings.stream
        num_that_fit = 0 if room is None else room(training.worker_resources)
        fewest, most = training.world_sizes[0], training.world_sizes[-1]
        num_workers = min(max(fewest, num_that_fit), most)
        workers = Ask(
            "trainers",
            "training.num_workers",
            num_workers,
            training.worker_resources,
            training.worker_labels,
        )
        each = {"CPU": stream.featurizer_num_cpus}
        labels = stream.featurizer_label_selector
        if stream.read_from == "store":  # its featurizers run before the workers
            key = "stream.num_featurizers"
            first = Ask("featurizers", key, stream.num_featurizer_actors, each, labels)
            reader = {"CPU": stream.reader_num_cpus}
            number = num_workers * stream.num_readers
            return ((first,), (workers, Ask("readers", "their readers", number, reader)))
        number = num_workers * stream.num_featurizer_actors
        return ((workers, Ask("featurizers", "their featurizers", number, each, labels)),)

    def on_devices(self, num_gpus: float, num_cpus: float = 1.0) -> Self:
        """Train on GPUs if each of the fewest workers can have one; share out the CPUs."""
        training, stream = self.settings.training, self.settings.stream
        if training.use_gpu == "auto":
            use_gpu = num_gpus >= training.world_sizes[0]
            training = training.model_copy(update={"use_gpu": use_gpu})
        if stream.num_featurizers == "auto":
            number = _num_featurizers(training, stream, num_cpus)
            stream = stream.model_copy(update={"num_featurizers": number})
        update = {"training": training, "stream": stream}
        return self.with_settings(self.settings.model_copy(update=update))

    def check(self) -> None:
        """Plan the run if the data sets are there."""
        if self.is_ingested:
            _ = self.plan

    def check_after(self, needed: Sequence[Job[Any]]) -> None:
        """Find out whether what is held out will be there after these jobs."""
        if self.unfinished is not None and is_ingested(self.workspace, self.settings.dataset):
            refuse_missing(self.settings.held_out, self.workspace, needed)

    @property
    def is_ingested(self) -> bool:
        """Whether the data set is there, and all that are held out."""
        held_out = (kept.dataset for kept in self.settings.held_out)
        names = (self.settings.dataset, *held_out)
        return all(is_ingested(self.workspace, name) for name in names)

    def prepared(self) -> Self:
        """Read in the files that the settings name, and plan the run."""
        job = self.with_settings(self.settings.located(self.workspace))
        _ = job.plan
        return job

    def execute(self, fence: Fence) -> None:
        """Train on workers of Ray."""
        from omnimat.training.forecast.expectation import expectation
        from omnimat.training.pretrain import pretrain

        print(expectation(self.plan, self.workspace), flush=True)
        pretrain(self.plan, fence)


def _num_featurizers(training: TrainingSettings, stream: StreamSettings, num_cpus: float) -> int:
    """Give each featurizer a CPU: of all if a store is filled first, else beside the workers."""
    if stream.read_from == "shards":
        num_cpus = num_cpus / training.world_sizes[-1] - training.cpus_per_worker
    return num_that_fit(num_cpus, stream.featurizer_num_cpus)
