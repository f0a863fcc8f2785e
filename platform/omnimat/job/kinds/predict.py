"""Jobs of kind ``predict``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from omnimat.base.lease import Fence
from omnimat.base.workspace import PREDICTIONS
from omnimat.job.asks import Ask, Phase, Room
from omnimat.job.job import Job, RunJob
from omnimat.prediction.settings import AppliedSettings, PredictSettings
from omnimat.shards.manifest import MANIFEST_NAME


class PredictJob(RunJob[AppliedSettings]):
    """Applies a packed model to the materials of a source or of a data set."""

    kind = "predict"
    settings_type: ClassVar[type[AppliedSettings]] = PredictSettings
    among = PREDICTIONS

    def phases(self, room: Room | None = None) -> tuple[Phase, ...]:
        """Ask for all actors at once: features go from the ones to the others."""
        settings = self.settings
        models = Ask("models", "num_models", settings.num_models, settings.model_resources)
        return ((Ask.featurizers(settings), models),)

    def on_devices(self, num_gpus: float, num_cpus: float = 1.0) -> Self:
        """Give each featurizer a CPU that no model takes, and each model a GPU if there is any."""
        settings = self.settings.with_featurizers(self.free_cpus(num_cpus))
        if settings.gpus_per_model == "auto":
            settings = settings.model_copy(update={"gpus_per_model": float(num_gpus >= 1)})
        return self.with_settings(settings)

    def free_cpus(self, num_cpus: float) -> float:
        """Count the CPUs of a cluster that no model takes."""
        return num_cpus - self.settings.num_models * self.settings.model_num_cpus

    def check(self) -> None:
        """Open the model and, if it is there, the input."""
        from omnimat.prediction.plan import make_plan, open_model

        open_model(self.settings)
        if self._has_input:
            make_plan(self.settings, self.workspace)

    def reach(self, *, fresh: bool = False) -> None:
        """Compare model and input with those of which the prediction was begun, if it was."""
        from omnimat.prediction.origin import check_origin
        from omnimat.prediction.plan import make_plan

        if self._has_input and not fresh:
            plan = make_plan(self.settings, self.workspace)
            check_origin(self.workspace.run(self.name, self.among), plan.origin, plan.rows)

    def remarks(self, needed: Sequence[Job[Any]] = ()) -> list[str]:
        """Say what the source holds and does not read."""
        del needed
        source = self.settings.source
        return [] if source is None else source.located().remarks()

    def execute(self, fence: Fence) -> None:
        """Make the parts that are not there yet."""
        from omnimat.prediction.run import predict

        predict(self.name, self.settings, self.workspace, fence)

    @property
    def _has_input(self) -> bool:
        """Whether the input is there; a job that this one needs may yet ingest a data set."""
        dataset = self.settings.dataset
        return dataset is None or (self.workspace.dataset(dataset) / MANIFEST_NAME).exists()
