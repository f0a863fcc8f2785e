"""The folders of a run's checkpoints, by their names and by whether their manifest is there.

A folder is named ``checkpoints/<step>-<session>``. A session is one start of the run.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from functools import partial

from upath import UPath

from omnimat.base.retry import patiently
from omnimat.training.checkpoint_manifest import MANIFEST

FOLDER = "checkpoints"
_NAME = re.compile(r"[0-9]{9}-[0-9]{19}")
_OLD_MARKER = re.compile(r"done-[0-9]+-of-[0-9]+")


def checkpoint_folder(run: UPath, step: int, session: str) -> UPath:
    """Name the folder of a checkpoint.

    Args:
        run: the run's folder.
        step: number of steps that were done, below 10**9.
        session: what ``new_session`` gave to this start.
    """
    return run / FOLDER / f"{step:09d}-{session}"


def newest_checkpoint(run: UPath) -> UPath | None:
    """Return the folder of a run's newest complete checkpoint, or None if there is none.

    Its files have not been held against its manifest yet.

    Raises:
        UserError: the storage may not be read.
        RunError: the storage did not answer.
    """
    return next((path for path in checkpoints(run) if is_complete(path)), None)


def checkpoints(run: UPath) -> list[UPath]:
    """Return the folders of a run's checkpoints, the newest first, whether complete or not.

    Whatever has another name is none, and is left alone.

    Raises:
        UserError: the storage may not be read.
        RunError: the storage did not answer.
    """
    folder = run / FOLDER
    found = [folder / name for name in _names(folder) if _NAME.fullmatch(name)]
    return sorted(found, key=lambda path: path.name, reverse=True)


def is_complete(checkpoint: UPath) -> bool:
    """Return whether all workers have brought their part of a checkpoint.

    Raises:
        UserError: the storage may not be read.
        RunError: the storage did not answer.
    """
    manifest = checkpoint / MANIFEST

    def is_there() -> bool:
        with suppress(FileNotFoundError, NotADirectoryError):
            manifest.fs.info(manifest.path)
            return True
        return False

    return patiently(is_there, manifest)


def is_of_older_version(checkpoint: UPath) -> bool:
    """Return whether an omnimat before 0.2 wrote a checkpoint, which this one cannot read.

    Raises:
        UserError: the storage may not be read.
        RunError: the storage did not answer.
    """
    return any(_OLD_MARKER.fullmatch(name) for name in _names(checkpoint))


def new_session(run: UPath) -> str:
    """Return a text that sorts after those of earlier starts, even if the clock was put back."""
    last = [int(_session(path)) for path in checkpoints(run)]
    return f"{max([time.time_ns(), *(session + 1 for session in last)]):019d}"


def superfluous(run: UPath, session: str, *, first_step: int, num_kept: int) -> list[UPath]:
    """Return what a start may delete, the newest first: nothing of a later one or an older version.

    Args:
        run: the run's folder.
        session: session of the start.
        first_step: step from which it went on; what earlier starts saved beyond it was refused.
        num_kept: number of complete checkpoints to keep.

    Raises:
        UserError: the storage may not be read.
        RunError: the storage did not answer.
    """
    found: list[UPath] = []
    num_good = 0
    for folder in checkpoints(run):
        its_session = _session(folder)
        if its_session > session:
            continue
        is_refused = its_session < session and _step(folder) > first_step
        if is_complete(folder) and not is_refused:
            num_good += 1
            if num_good > num_kept:
                found.append(folder)
        # What this start is about to complete is newer than all that is good.
        elif (its_session < session or num_good) and not is_of_older_version(folder):
            found.append(folder)
    return found


def delete(checkpoint: UPath) -> None:
    """Delete a checkpoint; the manifest goes first, so what is half deleted is never complete.

    Raises:
        UserError: it may not be deleted.
        RunError: the storage did not answer.
    """
    with suppress(FileNotFoundError):
        patiently((checkpoint / MANIFEST).unlink, checkpoint)
    with suppress(FileNotFoundError):
        patiently(partial(checkpoint.fs.rm, checkpoint.path, recursive=True), checkpoint)


def _names(folder: UPath) -> list[str]:
    """Name what is in a folder; nothing if it is none or is not there."""

    def names() -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError):
            return [path.name for path in folder.iterdir()]
        return []

    return patiently(names, folder)


def _step(checkpoint: UPath) -> int:
    return int(checkpoint.name.partition("-")[0])


def _session(checkpoint: UPath) -> str:
    return checkpoint.name.partition("-")[2]
