"""Jobs of kind ``evaluate``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Self

from omnimat.base.lease import Fence
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.job.asks import Ask, Phase, Room
from omnimat.job.job import Job, RunJob
from omnimat.job.leakage import find_leakage_early

if TYPE_CHECKING:
    from omnimat.evaluation.leakage import Judging


class EvaluateJob(RunJob[EvaluateSettings]):
    """Finds out what the encoders of a pretraining run know about a split."""

    kind = "evaluate"
    writes_rows = True
    settings_type = EvaluateSettings

    def phases(self, room: Room | None = None) -> tuple[Phase, ...]:
        """Ask for the featurizers, and then for one encoder, if any has a GPU."""
        settings = self.settings
        featurizers = Ask.featurizers(settings)
        if not settings.encoder_gpus:
            return ((featurizers,),)
        each = {"CPU": 1.0, "GPU": settings.encoder_gpus}
        return ((featurizers,), (Ask("encoders", "gpus_per_encoder", 1, each),))

    def on_devices(self, num_gpus: float, num_cpus: float = 1.0) -> Self:
        """Give each featurizer a CPU, and each encoder a GPU if there is any."""
        settings = self.settings.with_featurizers(num_cpus)
        if settings.gpus_per_encoder == "auto":
            update = {"gpus_per_encoder": float(num_gpus >= 1)}
            settings = settings.model_copy(update=update)
        return self.with_settings(settings)

    def check(self) -> None:
        """Find out where the leaderboard is, which is written to only at the end."""
        _ = self.workspace.leaderboard_url

    def check_after(self, needed: Sequence[Job[Any]]) -> None:
        """Refuse to judge by what the inputs or the pretraining have shown, as far as is known."""
        _ = self.remarks(needed)

    def remarks(self, needed: Sequence[Job[Any]] = ()) -> list[str]:
        """Say how many of the materials the pretraining sees by their formula."""
        return find_leakage_early(self.settings, self.workspace, needed, self._judging)

    def _judging(self, modalities: Collection[str]) -> Judging:
        from omnimat.evaluation.leakage import Judging

        return Judging.of_sections(self.settings, modalities, self.workspace)

    def execute(self, fence: Fence) -> None:
        """Embed the split and evaluate each section."""
        from omnimat.evaluation.evaluate import evaluate

        evaluate(self.name, self.settings, self.workspace, fence)
