"""Jobs of kind ``evaluate``."""

from __future__ import annotations

from omnimat.base.lease import Fence
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.job.asks import Ask, Phase, Room
from omnimat.job.job import RunJob


class EvaluateJob(RunJob[EvaluateSettings]):
    """Finds out what the encoders of a pretraining run know about a split."""

    kind = "evaluate"
    settings_type = EvaluateSettings

    def phases(self, room: Room | None = None) -> tuple[Phase, ...]:
        """Ask for the featurizers; all else happens in this process."""
        settings = self.settings
        return ((Ask.featurizers(settings.num_featurizers, settings.featurizer_num_cpus),),)

    def check(self) -> None:
        """Find out where the leaderboard is, which is written to only at the end."""
        _ = self.workspace.leaderboard_url

    def execute(self, fence: Fence) -> None:
        """Embed the split and evaluate each section."""
        from omnimat.evaluation.evaluate import evaluate

        evaluate(self.name, self.settings, self.workspace, check_held=fence.check)
