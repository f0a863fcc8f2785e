"""Resumes a run from its newest checkpoint, even with another number of workers than wrote it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.training.checkpoint import TAG, Progress, load_universal
from omnimat.training.checkpoint_store import newest_checkpoint
from omnimat.training.context import WorkerContext
from omnimat.training.gather import agree

_UNIVERSAL_TAG = "universal"


@dataclass(frozen=True, slots=True)
class SavedState:
    """A checkpoint as DeepSpeed can load it on this machine.

    Attributes:
        folder: folder of the checkpoint.
        universal: folder of the converted state where another number of workers wrote the
            checkpoint; None where no conversion was needed.
        progress: how far the run was.
    """

    folder: Path
    universal: Path | None
    progress: Progress

    def load_into(self, engine: Any) -> None:
        """Load model, optimizer and running statistics into the engine; all workers must call."""
        if self.universal is None:
            engine.load_checkpoint(str(self.folder), tag=TAG)
        else:
            load_universal(engine, self.universal, _UNIVERSAL_TAG, self.folder)


@contextmanager
def newest_state(context: WorkerContext) -> Iterator[SavedState | None]:
    """Open the newest complete checkpoint; all workers must call.

    A remote checkpoint is copied to each machine once. ZeRO state that was partitioned over another
    number of workers is converted to DeepSpeed's universal checkpoint.

    Yields:
        The saved state, or None where there is no checkpoint yet.

    Raises:
        RunError: the conversion failed.
    """
    newest = agree(newest_checkpoint(context.run))
    if newest is None:
        yield None
        return
    progress = Progress.read(newest)
    is_universal = progress.zero_stage > 0 and progress.world_size != context.world_size
    is_here = newest.protocol in {"", "file"}
    # The smallest rank of a machine identifies it, as its ranks are consecutive. It is part of the
    # name because machines may share their temporary folder.
    machine = context.rank - context.local_rank
    copy = Path(tempfile.gettempdir()) / f"omnimat-resume-{_digest(newest)}-{machine}"
    source = Path(newest.path) if is_here else copy
    if context.local_rank == 0:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        if not is_here:
            newest.fs.get(f"{newest.path}/", str(copy), recursive=True)  # the / copies its content
        if is_universal:
            _convert(source / TAG, copy / _UNIVERSAL_TAG)
    dist.barrier()
    yield SavedState(source, copy if is_universal else None, progress)
    dist.barrier()  # the copy may be deleted only once everyone has read it
    if context.local_rank == 0:
        shutil.rmtree(copy)


def _digest(checkpoint: UPath) -> str:
    """Return a name for a checkpoint that no other run or user has."""
    return hashlib.sha256(f"{os.getuid()} {checkpoint}".encode()).hexdigest()[:16]


def _convert(source: Path, target: Path) -> None:
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"]
    command += ["--input_folder", str(source), "--output_folder", str(target)]
    command += ["--inject_missing_state"]  # ZeRO 1 and 2 do not write it themselves
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise RunError(
            f"checkpoint {source.parent} could not be converted for another number of workers "
            f"({lines[-1]}); continue with as many workers as before"
        )
