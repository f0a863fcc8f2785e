"""The typed tree of a job file: its header, and the settings of the room that runs its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter

from omnimat.base.settings import Settings
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.finetune.settings import FinetuneSettings
from omnimat.sources.settings import IngestSettings
from omnimat.stream.tokenizer import TokenizerFitSettings
from omnimat.training.settings import FeaturizeSettings, PretrainSettings

SettingsT = TypeVar("SettingsT", bound=Settings)


class JobHeader(Settings):
    """What every job file says."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")
    """Names the data set or the run; the same name goes on where it stopped."""
    needs: tuple[str, ...] = ()
    """Job files that run first where their output is missing."""
    storage_path: str | None = None
    """Folder or URI of data sets, runs and leaderboard; else $OMNIMAT_STORAGE, else ~/omnimat."""
    leaderboard_url: str | None = None
    """Of SQLAlchemy; else $OMNIMAT_LEADERBOARD, else leaderboard.sqlite in a local storage_path."""
    presets: Mapping[str, Mapping[str, Any]] = {}
    """Named partial trees of this file; the one chosen is laid over the rest of it."""
    preset: str | None = None
    """Which of ``presets``; jobs this one needs take theirs of that name, where they have one."""


class IngestJob(JobHeader, IngestSettings):
    """Source -> shards."""

    kind: Literal["ingest"]


class TokenizerJob(JobHeader, TokenizerFitSettings):
    """Texts of a training split -> tokenizer."""

    kind: Literal["tokenizer"]


class FeaturizeJob(JobHeader, FeaturizeSettings):
    """Shards -> feature store, ahead of the runs that read it."""

    kind: Literal["featurize"]


class PretrainJob(JobHeader, PretrainSettings):
    """Shards -> aligned encoders."""

    kind: Literal["pretrain"]


class FinetuneJob(JobHeader, FinetuneSettings):
    """Encoder -> property, over learning rates and seeds."""

    kind: Literal["finetune"]


class EvaluateJob(JobHeader, EvaluateSettings):
    """Encoders -> retrieval."""

    kind: Literal["evaluate"]


class PipelineJob(JobHeader):
    """Job files run in order, each only where its output is missing."""

    kind: Literal["pipeline"]
    jobs: tuple[str, ...] = Field(min_length=1)


Job = Annotated[
    IngestJob | TokenizerJob | FeaturizeJob | PretrainJob | FinetuneJob | EvaluateJob | PipelineJob,
    Field(discriminator="kind"),
]
RunJob = PretrainJob | FinetuneJob | EvaluateJob
"""Kinds that make a run, which may go on, be finished, or begin anew."""
JOB: TypeAdapter[Job] = TypeAdapter(Job)
JOBS: Mapping[str, type[JobHeader]] = {
    "ingest": IngestJob,
    "tokenizer": TokenizerJob,
    "featurize": FeaturizeJob,
    "pretrain": PretrainJob,
    "finetune": FinetuneJob,
    "evaluate": EvaluateJob,
    "pipeline": PipelineJob,
}


def room_settings(job: JobHeader, kind: type[SettingsT]) -> SettingsT:
    """Give the part of a job that its room reads, without the header."""
    return kind.model_validate({name: getattr(job, name) for name in kind.model_fields})
