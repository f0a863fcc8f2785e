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

from omnimat.base.confined import Confined
from omnimat.base.errors import RunError
from omnimat.base.files import parquet_frame
from omnimat.base.retry import reason
from omnimat.base.workspace import HISTORY, METRICS, RESULT, STOPPED, TRIAL, TRIALS
from omnimat.job.attempt import CLAIM
from omnimat.training.history import read_history

MAX_AT_ONCE = 16
# A page is made in the memory of the server, for whoever asks.
# Where Ray Tune keeps what each trial reports, a line for each epoch.
TUNE = "tune"
REPORTS = "result.json"
MAX_GOING = 32  # trials that are told while they go on
LOG_SUFFIX = ".log"
MAX_LOG_BYTES = 64 << 10  # of the end of a log
MAX_LOG_LINES = 200
MAX_JSON_BYTES = 64 << 20
MAX_FILE_BYTES = 512 << 20
MAX_TABLE_BYTES = 1 << 30  # of a file, in memory

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
    """The files of a run.

    What cannot be read raises ``OSError``, ``ValueError`` or ``RunError``, and so does what a link
    has in its place, or a pipe.

    Attributes:
        storage: the storage, outside of which nothing is read.
        name: the folder of the run's newest attempt there.
    """

    storage: Confined
    name: str

    @property
    def folder(self) -> UPath:
        """The folder; what lies in it may be listed, but is read by ``read`` alone."""
        return self.storage.path(self.name, "run")

    @property
    def attempt(self) -> str:
        """The name of the folder, without those that it lies in."""
        return self.name.rpartition("/")[2]

    def read(self, *parts: str, max_bytes: int = MAX_JSON_BYTES) -> bytes:
        """Read a file by the parts of its path."""
        return self.storage.read("/".join((self.name, *parts)), "run", max_bytes)

    def table(self, *parts: str) -> pd.DataFrame:
        """Read a table by the parts of its path."""
        return parquet_frame(self.read(*parts, max_bytes=MAX_FILE_BYTES), MAX_TABLE_BYTES)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings with which the run was begun."""
        settings: dict[str, Any] = self._json(CLAIM)["settings"]
        return settings

    def times(self) -> Times:
        """Say when the run began and ended."""
        files = files_in(self.folder)
        if CLAIM not in files:
            raise FileNotFoundError(str(self.folder / CLAIM))
        return Times(files[CLAIM], files.get(RESULT))

    def newest_report(self) -> Report | None:
        """Read the last line of a pretraining run's history; None if it has none yet."""
        parts = files_in(self.storage.path(f"{self.name}/{METRICS}", "run"))
        newest = max((name for name in parts if name.endswith(".jsonl")), default=None)
        if newest is None:
            return None
        *_, last = self.read(METRICS, newest).splitlines()
        return Report(json.loads(last), parts[newest])

    def history(self) -> pd.DataFrame:
        """Read a pretraining run's history; empty before the first report."""
        try:
            return self.final_history()
        except FileNotFoundError:
            if self.newest_report() is None:
                return pd.DataFrame()
            return read_history(self.folder, lambda path: self.read(METRICS, path.name))

    def final_history(self) -> pd.DataFrame:
        """Read the history that a pretraining run left at its end."""
        return self.table(HISTORY)

    def log(self) -> tuple[str, list[str]]:
        """Read the last lines of the newest ``*.log`` in the folder.

        Returns:
            The name of the log, empty if there is none, and the lines.
        """
        logs = {name: at for name, at in files_in(self.folder).items() if name.endswith(LOG_SUFFIX)}
        if not logs:
            return "", []
        newest = max(logs, key=lambda name: logs[name])
        end = self.storage.tail(f"{self.name}/{newest}", "run", MAX_LOG_BYTES)
        return newest, end.decode(errors="replace").splitlines()[-MAX_LOG_LINES:]

    def ended_trials(self) -> dict[str, datetime]:
        """Say when each trial of a sweep ended, by its name."""
        return {trial: at for trial, (_, at) in self._ends().items()}

    def trials(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Read whether each ended trial has ``finished`` or ``stopped``, and what it left."""
        ends = {trial: name for trial, (name, _) in self._ends().items()}
        left = at_once(lambda end: self._json(TRIALS, *end), ends.items())
        states = ("finished" if name == TRIAL else "stopped" for name in ends.values())
        return dict(zip(ends, zip(states, left, strict=True), strict=True))

    def going_trials(self) -> dict[str, dict[str, Any]]:
        """Read the last report of trials that have begun and not ended, by their names."""
        begun = folders_in(self.storage.path(f"{self.name}/{TUNE}", "run"))
        going = sorted(set(begun) - set(self._ends()))[:MAX_GOING]
        reports = dict(zip(going, at_once(self._last_report, going), strict=True))
        return {trial: report for trial, report in reports.items() if report is not None}

    def _last_report(self, trial: str) -> dict[str, Any] | None:
        """Read the last line that Ray Tune keeps of a trial; None before the first one."""
        try:
            end = self.storage.tail(f"{self.name}/{TUNE}/{trial}/{REPORTS}", "run", MAX_LOG_BYTES)
        except FileNotFoundError:
            return None
        *_, last = end.splitlines() or [b"null"]
        report: dict[str, Any] | None = json.loads(last)
        return report

    def _json(self, *parts: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.read(*parts))
        return content

    def _ends(self) -> dict[str, tuple[str, datetime]]:
        """Find the file that each trial left at its end, and when, by the trial's name."""
        folder = self.storage.path(f"{self.name}/{TRIALS}", "run")
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
