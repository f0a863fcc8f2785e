"""The keys that every job file has, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from omnimat.base.settings import Settings


class JobHeader(Settings):
    """What a job is called, what it needs first, and where its things are kept."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")
    """Name of the data set, tokenizer or run that the job makes. A job that was stopped goes on
    where it stopped when it is started again under the same name."""
    needs: tuple[str, ...] = ()
    """Job files that run first if their output is missing."""
    storage_path: str | None = None
    """Folder or URI that holds data sets, runs and the leaderboard. If it is left out,
    ``$OMNIMAT_STORAGE`` counts, and ``~/omnimat`` if that is not set either."""
    leaderboard_url: str | None = None
    """SQLAlchemy URL of the leaderboard. If it is left out, ``$OMNIMAT_LEADERBOARD`` counts, and
    ``leaderboard.sqlite`` in a local ``storage_path`` if that is not set either."""
    presets: Mapping[str, Mapping[str, Any]] = {}
    """Parts of a job file by name; the chosen one is laid over the rest of the file."""
    preset: str | None = None
    """Which of ``presets`` is chosen. It is handed on to the jobs that this one needs, if they have
    a preset of that name."""
