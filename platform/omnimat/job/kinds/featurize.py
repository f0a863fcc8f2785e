"""Jobs of kind ``featurize``."""

from __future__ import annotations

from typing import Self

from omnimat.job.asks import Ask, Phase, Room
from omnimat.job.job import Job
from omnimat.stream.featurize_settings import FeaturizeSettings


class FeaturizeJob(Job[FeaturizeSettings]):
    """Fills a feature store ahead of the runs that read it."""

    kind = "featurize"
    settings_type = FeaturizeSettings

    def phases(self, room: Room | None = None) -> tuple[Phase, ...]:
        """Ask for all featurizers at once."""
        return ((Ask.featurizers(self.settings),),)

    def on_devices(self, num_gpus: float, num_cpus: float = 1.0) -> Self:
        """Give each featurizer a CPU, if it is left open how many there are."""
        del num_gpus
        return self.with_settings(self.settings.with_featurizers(num_cpus))

    def run(self, *, is_asked_for: bool = False, fresh: bool = False) -> None:
        """Featurize what the store does not hold yet."""
        from omnimat.stream.featurize import write_store
        from omnimat.stream.location import StoreLocation

        settings = self.settings.located(self.workspace)
        featurizers = settings.modalities.featurizers()
        store = StoreLocation.of(self.workspace, settings.dataset, featurizers)
        if store.is_complete:
            print(f"{self.name}: finished, nothing to do ({store.folder})", flush=True)
        write_store(
            store,
            num_featurizers=settings.num_featurizer_actors,
            num_cpus=settings.featurizer_num_cpus,
            max_quarantined=settings.max_quarantined,
        )
        store.losses().say(self.name)
