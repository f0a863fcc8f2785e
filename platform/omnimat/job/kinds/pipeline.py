"""Jobs of kind ``pipeline``."""

from __future__ import annotations

from pydantic import Field

from omnimat.base.settings import Settings
from omnimat.job.job import Job


class PipelineSettings(Settings):
    """Several jobs as one."""

    jobs: tuple[str, ...] = Field(min_length=1)
    """Job files to run in this order, each only if its output is missing."""


class PipelineJob(Job[PipelineSettings]):
    """Runs other job files in order."""

    kind = "pipeline"
    settings_type = PipelineSettings

    @property
    def needs(self) -> tuple[str, ...]:
        """All files of the pipeline, after those that the header names."""
        return (*self.header.needs, *self.settings.jobs)

    def run(self, *, is_asked_for: bool = False, fresh: bool = False) -> None:
        """Do nothing: the jobs of the pipeline have run before it."""
