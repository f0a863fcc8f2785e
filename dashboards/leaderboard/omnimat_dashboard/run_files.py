"""What one run has left in its folder so far, whether it goes on or has ended.

Pages of runs that go on are read every few seconds, and each call to a remote storage is a round
trip. So one listing tells all that can be known without reading, and many files are read at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pandas as pd
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.files import parquet_frame, read_file
from omnimat.base.retry import reason
from omnimat.base.workspace import HISTORY, METRICS, RESULT, STOPPED, TRIAL, TRIALS
from omnimat.job.attempt import CLAIM
from omnimat.training.history import read_history

MAX_AT_ONCE = 16

# What filesystems call the time of writing; the one in memory knows only the time of creation.
_TIMES = ("mtime", "LastModified", "last_modified", "created")

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Report:
    """The newest line of a history.

    Attributes:
        metrics: the metrics by name, as ``training.meter`` explains them.
        at: when the line was written.
    """

    metrics: Mapping[str, float]
    at: datetime


@dataclass(frozen=True, slots=True)
class Times:
    """When a run began and ended.

    Attributes:
        begun_at: when it began, or began again.
        finished_at: when it left its result; None if it has not.
    """

    begun_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a run; what cannot be read raises ``OSError``, ``ValueError`` or ``RunError``.

    Attributes:
        folder: the folder of the run's newest attempt.
    """

    folder: UPath

    @property
    def settings(self) -> dict[str, Any]:
        """The settings with which the run was begun."""
        settings: dict[str, Any] = _json(self.folder / CLAIM)["settings"]
        return settings

    def times(self) -> Times:
        """Say when the run began and ended."""
        files = files_in(self.folder)
        if CLAIM not in files:
            raise FileNotFoundError(str(self.folder / CLAIM))
        return Times(files[CLAIM], files.get(RESULT))

    def newest_report(self) -> Report | None:
        """Read the last line of a pretraining run's history; None if it has none yet."""
        folder = self.folder / METRICS
        parts = {name: at for name, at in files_in(folder).items() if name.endswith(".jsonl")}
        if not parts:
            return None
        newest = max(parts)
        *_, last = read_file(folder / newest).splitlines()
        return Report(json.loads(last), parts[newest])

    def history(self) -> pd.DataFrame:
        """Read a pretraining run's history; empty before the first report."""
        try:
            return self.final_history()
        except FileNotFoundError:
            return pd.DataFrame() if self.newest_report() is None else read_history(self.folder)

    def final_history(self) -> pd.DataFrame:
        """Read the history that a pretraining run left at its end."""
        return parquet_frame(read_file(self.folder / HISTORY))

    def ended_trials(self) -> dict[str, datetime]:
        """Say when each trial of a sweep ended, by its name."""
        return {trial: at for trial, (_, at) in self._ends().items()}

    def trials(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Read whether each ended trial has ``finished`` or ``stopped``, and what it left."""
        ends = {trial: name for trial, (name, _) in self._ends().items()}
        left = at_once(lambda end: _json(self.folder / TRIALS / end[0] / end[1]), ends.items())
        states = ("finished" if name == TRIAL else "stopped" for name in ends.values())
        return dict(zip(ends, zip(states, left, strict=True), strict=True))

    def _ends(self) -> dict[str, tuple[str, datetime]]:
        """Find the file that each trial left at its end, and when, by the trial's name."""
        folder = self.folder / TRIALS
        found = ask(lambda: folder.fs.find(folder.path, detail=True), folder)
        ends = {}
        for path in sorted(found):  # the result, if there is one, comes after ``stopped.json``
            *_, parent, trial, name = path.split("/")
            if parent == TRIALS and name in {TRIAL, STOPPED}:
                ends[trial] = (name, _written_at(found[path]))
        return ends


def ask(call: Callable[[], T], what: object) -> T:
    """Ask a filesystem something once; its client tries again by itself, and so does the page.

    Raises:
        FileNotFoundError: the call raised it.
        RunError: the filesystem did not answer, or does not allow this.
    """
    try:
        return call()
    except FileNotFoundError:
        raise
    except Exception as error:  # most filesystems let errors of the libraries beneath them through
        raise RunError(f"{what} is out of reach: {reason(error)}") from error


def at_once(read: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Read several things at the same time."""
    with ThreadPoolExecutor(MAX_AT_ONCE) as threads:
        return list(threads.map(read, items))


def files_in(folder: UPath) -> dict[str, datetime]:
    """Say when each file of a folder was written, by its name; nothing if there is no folder."""
    files = (entry for entry in _entries(folder) if entry["type"] == "file")
    return {_name(entry): _written_at(entry) for entry in files}


def folders_in(folder: UPath) -> list[str]:
    """Name the folders in a folder; none if there is no such folder."""
    return [_name(entry) for entry in _entries(folder) if entry["type"] == "directory"]


def _entries(folder: UPath) -> list[Mapping[str, Any]]:
    try:
        return ask(lambda: list(folder.fs.ls(folder.path, detail=True)), folder)
    except FileNotFoundError:
        return []


def _name(entry: Mapping[str, Any]) -> str:
    path: str = entry["name"]
    return path.rstrip("/").rpartition("/")[2]


def _written_at(entry: Mapping[str, Any]) -> datetime:
    at = next((entry[key] for key in _TIMES if key in entry), 0.0)
    return at.astimezone(UTC) if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)


def _json(path: UPath) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(read_file(path))
    return content
