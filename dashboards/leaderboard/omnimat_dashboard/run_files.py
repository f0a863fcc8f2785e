"""What one run has left in its folder by now, whether it goes on or has ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from upath import UPath

from omnimat.job.attempt import CLAIM
from omnimat.materials.workspace import METRICS, RESULT
from omnimat.shards.files import parquet_frame, read_file
from omnimat.training.history import read_history

HISTORY = "metrics.parquet"
TRIAL = "trial.json"
STOPPED = "stopped.json"


@dataclass(frozen=True, slots=True)
class Report:
    """The newest line of a history.

    Attributes:
        metrics: by name, as ``training.meter`` explains them.
        at: when it was written.
    """

    metrics: Mapping[str, float]
    at: datetime


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a run; all raise ``OSError`` or ``ValueError`` where one cannot be read.

    Attributes:
        folder: of the run's newest attempt.
    """

    folder: UPath

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was begun with."""
        claim: dict[str, Any] = json.loads(read_file(self.folder / CLAIM))
        settings: dict[str, Any] = claim["settings"]
        return settings

    @property
    def begun_at(self) -> datetime:
        """When it was begun, or begun again."""
        return _written_at(self.folder / CLAIM)

    @property
    def finished_at(self) -> datetime | None:
        """When it left its result; None before."""
        path = self.folder / RESULT
        return _written_at(path) if path.exists() else None

    def newest_report(self) -> Report | None:
        """Read the last line of a pretraining run's history; None before the first."""
        parts = sorted((self.folder / METRICS).glob("*.jsonl"), key=lambda path: path.name)
        if not parts:
            return None
        *_, last = read_file(parts[-1]).splitlines()
        return Report(json.loads(last), _written_at(parts[-1]))

    def history(self) -> pd.DataFrame:
        """Read a pretraining run's history; empty before the first report."""
        path = self.folder / HISTORY
        if path.exists():
            return parquet_frame(read_file(path))
        if self.newest_report() is None:
            return pd.DataFrame()
        return read_history(self.folder)

    def ended_trials(self) -> dict[str, datetime]:
        """Tell when each trial of a sweep ended, by its name."""
        found = [*self._of_trials(TRIAL), *self._of_trials(STOPPED)]
        return {path.parent.name: _written_at(path) for path in found}

    def trials(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Read what each trial that ended left: that it ``finished`` or ``stopped``, and what."""
        stopped = {path.parent.name: ("stopped", _json(path)) for path in self._of_trials(STOPPED)}
        finished = {path.parent.name: ("finished", _json(path)) for path in self._of_trials(TRIAL)}
        return dict(sorted((stopped | finished).items()))

    def _of_trials(self, name: str) -> Iterator[UPath]:
        yield from (self.folder / "trials").glob(f"*/{name}")


def _json(path: UPath) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(read_file(path))
    return content


def _written_at(path: UPath) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
