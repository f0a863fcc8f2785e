"""Jobs of kind ``ingest``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from upath import UPath

from omnimat.job.asks import Ask, Phase, Room
from omnimat.job.job import Job
from omnimat.shards.manifest import MANIFEST_NAME
from omnimat.sources.base import check_not_empty
from omnimat.sources.settings import IngestSettings


class IngestJob(Job[IngestSettings]):
    """Writes the records of a source as the shards of a data set."""

    kind = "ingest"
    settings_type = IngestSettings

    def phases(self, room: Room | None = None) -> tuple[Phase, ...]:
        """Ask for one task: with fewer at a time the ingest only takes longer."""
        each = {"CPU": self.settings.num_cpus_per_task}
        return ((Ask("ingest tasks", "num_cpus_per_task", 1, each),),)

    @property
    def unfinished(self) -> UPath | None:
        """Folder of the data set, until it has its manifest."""
        folder = self.workspace.dataset(self.name)
        return None if (folder / MANIFEST_NAME).exists() else folder

    @property
    def needs_ray(self) -> bool:
        """Whether a Ray is there, or would have more to do than starting takes."""
        from omnimat.sources.small import is_small

        return bool(os.environ.get("RAY_ADDRESS")) or not is_small(self.settings)

    def check(self) -> None:
        """Look for the files of the source and read the tables beside it.

        Where there is a data set already, its settings and its input files are compared instead.
        """
        folder = self.workspace.dataset(self.name)
        if (folder / MANIFEST_NAME).exists():
            from omnimat.sources.finished import finished

            finished(self.settings, self.name, folder)
        else:
            from omnimat.sources.labels.joins import read_joins

            located = self.settings.located()
            check_not_empty(located.source)
            read_joins(located)

    def remarks(self, needed: Sequence[Job[Any]] = ()) -> list[str]:
        """Say what the source holds and does not read, until there is a data set of it."""
        del needed
        folder = self.workspace.dataset(self.name)
        is_there = (folder / MANIFEST_NAME).exists()
        return [] if is_there else self.settings.located().source.remarks()

    def run(self, *, is_asked_for: bool = False, fresh: bool = False) -> None:
        """Ingest; what a remote source failed to give is tried again only if the user asks."""
        from omnimat.sources.ingest import ingest, ingest_in_turn

        folder = self.workspace.dataset(self.name)
        if self.needs_ray:
            ingest(self.settings, self.name, folder, retry_failures=is_asked_for)
        else:
            ingest_in_turn(self.settings, self.name, folder)
