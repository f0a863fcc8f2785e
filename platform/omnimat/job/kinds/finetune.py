"""Jobs of kind ``finetune``."""

from __future__ import annotations

from typing import Self

from upath import UPath

from omnimat.finetune.settings import FinetuneSettings
from omnimat.job.asks import Ask, Phase, Room
from omnimat.job.job import RunJob


class FinetuneJob(RunJob[FinetuneSettings]):
    """Trains pretrained encoders to predict properties, over learning rates and seeds."""

    kind = "finetune"
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
        """Find out where the leaderboard is, which is written to only at the end."""
        _ = self.workspace.leaderboard_url

    def execute(self, folder: UPath) -> None:
        """Run the trials that have not ended yet, and score the best."""
        from omnimat.finetune.sweep import run_sweep

        run_sweep(self.name, self.settings, self.workspace)
