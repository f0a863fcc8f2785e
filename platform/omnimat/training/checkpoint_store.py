"""Stores a run's checkpoints on any file system and finds the newest complete one.

Each checkpoint is a folder, ``checkpoints/<step>-<session>``. Every worker copies its own part into
it in the background while training goes on, and finally writes its marker
``done-<rank>-of-<workers>``. A checkpoint is complete once all its markers are there. So a kill, a
full disk or a lost connection in the middle leaves the last good checkpoint as it was, and the
files alone tell which one that is.

Ray Train could keep checkpoints too, but not for a run under torchrun, and neither launcher could
continue from the checkpoints of the other.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.files import write_atomically
from omnimat.base.retry import patiently

FOLDER = "checkpoints"
_MARKER = re.compile(r"done-\d+-of-(\d+)")


class CheckpointError(RunError):
    """A checkpoint could not be written."""


def newest_checkpoint(run: UPath) -> UPath | None:
    """Return the folder of a run's newest complete checkpoint, or None if there is none."""
    return next(_complete(run / FOLDER), None)


@dataclass
class CheckpointStore:
    """One worker's side of a run's checkpoints.

    Attributes:
        run: the run's folder, reachable from every worker.
        rank: rank of this worker.
        world_size: number of workers.
        num_kept: number of complete checkpoints to keep; older ones are deleted.
        session: text that is the same on every worker and sorts later at each start of the run, so
            that what a killed start left half done is never mistaken for a part of this one.
    """

    run: UPath
    rank: int
    world_size: int
    num_kept: int
    session: str
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _pending: Future[None] | None = None

    def save(self, part: Path, step: int) -> None:
        """Copy this worker's part of a checkpoint in the background and delete the local folder.

        Raises:
            CheckpointError: the previous checkpoint could not be copied.
        """
        self.wait()
        target = self.run / FOLDER / f"{step:09d}-{self.session}"
        self._pending = self._thread.submit(self._store, part, target)

    def check(self) -> None:
        """Raise what has gone wrong in the background, without waiting for the copy to end.

        Raises:
            CheckpointError: the last checkpoint could not be copied.
        """
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is copied.

        Raises:
            CheckpointError: it could not be copied.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the last checkpoint and end the thread."""
        self.wait()
        self._thread.shutdown()

    def _store(self, part: Path, target: UPath) -> None:
        try:
            self.prune()
            _copy_all(part, target)
            write_atomically(target / f"done-{self.rank:05d}-of-{self.world_size:05d}", b"")
        except (OSError, RunError, UserError) as error:
            raise CheckpointError(
                f"{target} could not be written ({error}); the checkpoint before it is untouched: "
                "make room or repair the storage, and submit the job again"
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def prune(self) -> None:
        """Delete complete checkpoints beyond ``num_kept`` and what killed starts left half done.

        Only rank 0 does so, before each checkpoint; once the new one is complete, there may be one
        more than ``num_kept``. Markers are deleted first, so that a checkpoint that is half deleted
        never counts as complete.
        """
        if self.rank != 0:
            return
        folders = _folders(self.run / FOLDER)
        complete = [folder for folder in folders if _is_complete(folder)]
        half_done = [f for f in folders if f not in complete and not f.name.endswith(self.session)]
        for folder in complete[: -self.num_kept] + half_done:
            for marker in _markers(folder):
                (folder / marker).unlink()
            folder.fs.rm(folder.path, recursive=True)


def _copy_all(part: Path, target: UPath) -> None:
    """Copy a folder's files; if one fails, delete those already copied."""
    copied: list[UPath] = []
    try:
        for source in sorted(path for path in part.rglob("*") if path.is_file()):
            copied.append(target / source.relative_to(part).as_posix())
            patiently(partial(_copy, source, copied[-1]), copied[-1])
    except (OSError, RunError, UserError):
        for destination in copied:
            with suppress(FileNotFoundError):
                destination.unlink()
        raise


def _copy(source: Path, destination: UPath) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.fs.put_file(str(source), destination.path)


def _complete(folder: UPath) -> Iterator[UPath]:
    """Yield the complete checkpoints, newest first."""
    return (path for path in reversed(_folders(folder)) if _is_complete(path))


def _folders(folder: UPath) -> list[UPath]:
    return sorted(folder.iterdir(), key=lambda path: path.name) if folder.exists() else []


def _markers(folder: UPath) -> list[str]:
    return [path.name for path in folder.iterdir() if _MARKER.fullmatch(path.name)]


def _is_complete(folder: UPath) -> bool:
    markers = _markers(folder)
    return bool(markers) and len(markers) == int(markers[0].rpartition("-")[2])
