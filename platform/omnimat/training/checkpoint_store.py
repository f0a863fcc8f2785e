"""Stores a run's checkpoints on any file system and finds the newest complete one.

Each checkpoint is a folder, ``checkpoints/<step>-<session>``. Every worker copies its own part into
it in the background while training goes on, and leaves a list of its files. Once rank 0 has the
lists of all workers, it writes ``manifest.json``, and only then is the checkpoint complete. So a
kill, a full disk or a lost connection in the middle leaves the last good checkpoint as it was, and
the manifest alone tells which one that is.

Ray Train could keep checkpoints too, but not for a run under torchrun, and neither launcher could
continue from the checkpoints of the other.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python
from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.files import read_file, write_atomically, write_json
from omnimat.base.lease import CheckHeld, unleased
from omnimat.base.retry import patiently
from omnimat.training.checkpoint_folders import checkpoint_folder, delete, superfluous
from omnimat.training.checkpoint_manifest import (
    MANIFEST,
    CheckpointFile,
    CheckpointManifest,
    FileName,
)

POLL_S = 0.2
PARTS_TIMEOUT_S = 1800.0
GRACE_S = 10.0
_FILES = TypeAdapter(dict[FileName, CheckpointFile])


class CheckpointError(RunError):
    """A checkpoint could not be written."""


@dataclass
class CheckpointStore:
    """One worker's side of a run's checkpoints; as a context, it waits for the last one at its end.

    Attributes:
        run: the run's folder, reachable from every worker.
        rank: rank of this worker.
        world_size: number of workers.
        num_kept: number of complete checkpoints to keep; older ones are deleted.
        session: text that is the same on every worker and sorts later at each start of the run, so
            that what a killed start left half done is never mistaken for a part of this one.
        first_step: number of steps that were done when this start began.
        check_held: raises an error if this start may not write to the run any more. It is called
            before a part is copied, before the manifest is written and before anything is deleted.
    """

    run: UPath
    rank: int
    world_size: int
    num_kept: int
    session: str
    first_step: int
    check_held: CheckHeld = unleased
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _pending: Future[None] | None = None
    _deadline_s: float = math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store.

        If training has failed, rank 0 waits only ``GRACE_S`` for what the other workers still
        bring. An error of the copy is then only printed, as another error is on its way.

        Raises:
            CheckpointError: the last checkpoint could not be copied, though training ended well.
        """
        if kind is None:
            self.close()
            return
        self._deadline_s = time.monotonic() + GRACE_S
        with _only_said("the last checkpoint was lost"):
            self.close()

    def save(self, part: Path, step: int) -> None:
        """Copy this worker's part of a checkpoint in the background and delete the local folder.

        Raises:
            CheckpointError: the previous checkpoint could not be copied.
        """
        try:
            self.wait()
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        self._pending = self._thread.submit(self._store, part, step)

    def check(self) -> None:
        """Raise what has gone wrong in the background, without waiting for the copy to end.

        Raises:
            CheckpointError: the last checkpoint could not be copied.
        """
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is copied; on rank 0, until it is complete.

        Raises:
            CheckpointError: it could not be copied.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the last checkpoint and end the thread.

        Raises:
            CheckpointError: it could not be copied.
        """
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def prune(self) -> None:
        """Delete complete checkpoints beyond ``num_kept``, and what earlier starts left in vain.

        That is what they left half done, and what they saved beyond the step from which this start
        went on: it would have gone on from there if that could be read. Only rank 0 deletes, before
        each checkpoint; once the new one is complete, there may be one more than ``num_kept``. The
        manifest is deleted first, so that what is half deleted never counts as complete. Nothing of
        a later start or of an older version is deleted. What cannot be deleted is named, and does
        no harm to the run.

        Raises:
            Exception: whatever ``check_held`` raises.
        """
        if self.rank == 0:
            self.check_held()
            self._delete_old()

    def _delete_old(self) -> None:
        with _only_said("an old checkpoint could not be deleted"):
            for folder in superfluous(
                self.run, self.session, first_step=self.first_step, num_kept=self.num_kept
            ):
                with _only_said("an old checkpoint could not be deleted"):
                    delete(folder)

    def _of_others(self, target: UPath) -> dict[str, CheckpointFile]:
        """Wait for the lists of the workers other than rank 0, and return their files."""
        deadline_s = time.monotonic() + PARTS_TIMEOUT_S
        files: dict[str, CheckpointFile] = {}
        for rank in range(1, self.world_size):
            files |= _FILES.validate_json(self._awaited(target / _list_name(rank), deadline_s))
        return files

    def _awaited(self, path: UPath, deadline_s: float) -> bytes:
        """Read a file as soon as it is there."""
        while True:
            with suppress(FileNotFoundError):
                return read_file(path)
            if time.monotonic() > min(deadline_s, self._deadline_s):
                raise CheckpointError(f"{path} was not there in time")
            time.sleep(POLL_S)

    def _store(self, part: Path, step: int) -> None:
        target = checkpoint_folder(self.run, step, self.session)
        try:
            self.check_held()
            if self.rank == 0:
                self._delete_old()
            with _failing_as_one(target):
                files = _copy_all(part, target)
                if self.rank != 0:
                    write_json(target / _list_name(self.rank), to_jsonable_python(files))
                    return
                files |= self._of_others(target)
            self.check_held()
            manifest = CheckpointManifest(step=step, world_size=self.world_size, files=files)
            with _failing_as_one(target):
                write_atomically(target / MANIFEST, manifest.model_dump_json(indent=1).encode())
                for rank in range(1, self.world_size):
                    (target / _list_name(rank)).unlink()
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _only_said(what: str) -> Iterator[None]:
    """Print what has failed where that does no more harm to a run."""
    try:
        yield
    except (OSError, RunError, UserError) as error:
        print(f"omnimat: {what} ({error})", flush=True)


@contextmanager
def _failing_as_one(target: UPath) -> Iterator[None]:
    """Say in one sentence that a checkpoint could not be written, whatever failed."""
    try:
        yield
    except (OSError, RunError, ValueError) as error:
        raise CheckpointError(
            f"{target} could not be written ({error}); the checkpoint before it is untouched: "
            "make room or repair the storage, and submit the job again"
        ) from error


def _list_name(rank: int) -> str:
    return f"files-{rank:05d}.json"


def _copy_all(part: Path, target: UPath) -> dict[str, CheckpointFile]:
    """Copy a folder's files and describe them; if one fails, delete those already copied."""
    copied: dict[str, CheckpointFile] = {}
    try:
        for source in sorted(path for path in part.rglob("*") if path.is_file()):
            name = source.relative_to(part).as_posix()
            copied[name] = CheckpointFile.of(source)
            patiently(partial(_copy, source, target / name), target / name)
    except (OSError, RunError, UserError):
        for name in copied:
            with suppress(OSError):  # the error that is raised says more
                (target / name).unlink()
        raise
    return copied


def _copy(source: Path, destination: UPath) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.fs.put_file(str(source), destination.path)
