"""Resumes a run from its newest checkpoint that is whole, with any number of workers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import nn
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.filesystem import is_local
from omnimat.base.retry import patiently
from omnimat.base.scratch import temporary_folder
from omnimat.training.checkpoint import OPTIMIZER, PROGRESS, WEIGHTS, Progress, tensor_file
from omnimat.training.checkpoint_folders import (
    FOLDER,
    checkpoints,
    is_complete,
    is_of_older_version,
)
from omnimat.training.checkpoint_manifest import (
    MANIFEST,
    CheckpointManifest,
    DamagedCheckpointError,
)
from omnimat.training.checkpoint_tensors import SavedTensors, load_optimizer, load_weights
from omnimat.training.context import WorkerContext
from omnimat.training.gather import agree, join_over_workers

_FAULT = "fault"


@dataclass(frozen=True, slots=True)
class SavedState:
    """A checkpoint on this machine whose files are those of its manifest.

    Attributes:
        folder: folder that holds the files.
        manifest: the manifest.
        progress: how far the run was.
    """

    folder: Path
    manifest: CheckpointManifest
    progress: Progress

    def load_weights(self, model: nn.Module) -> None:
        """Load parameters and buffers into a model, before it is wrapped in an engine.

        Raises:
            OtherModelError: the checkpoint is not one of this model.
        """
        load_weights(model, self._tensors(WEIGHTS))

    def load_optimizer(self, engine: Any) -> None:
        """Load this worker's part of the optimizer's state into the engine.

        Raises:
            OtherModelError: the checkpoint is not one of this model.
        """
        load_optimizer(engine, self._tensors(OPTIMIZER))

    def _tensors(self, kind: str) -> SavedTensors:
        world_size = self.manifest.world_size
        names = [tensor_file(kind, rank, world_size) for rank in range(world_size)]
        return SavedTensors(self.folder, names)


@contextmanager
def newest_state(context: WorkerContext) -> Iterator[SavedState | None]:
    """Open the newest checkpoint whose files are those of its manifest; all workers must call.

    A checkpoint that is incomplete or damaged is named, and the one before it is taken. On each
    machine one worker reads the files once to check them, and copies remote ones.

    Yields:
        The saved state, or None where there is no checkpoint yet.

    Raises:
        RunError: there are checkpoints, but none can be read.
    """
    with temporary_folder("resume") as folder:
        yield _newest_whole(context, folder)
        dist.barrier()  # a copy may be deleted only once everyone has read it


def _newest_whole(context: WorkerContext, folder: Path) -> SavedState | None:
    names, refusal = agree(found_checkpoints(context.run) if context.rank == 0 else ([], None))
    for name in names:
        checkpoint = context.run / FOLDER / name
        brought = {} if context.local_rank else _bring(checkpoint, folder / name, context.rank)
        everywhere = join_over_workers(brought)
        if _FAULT not in everywhere:
            # The smallest rank of a machine identifies it, as its ranks are consecutive.
            here = Path(everywhere[str(context.rank - context.local_rank)])
            return SavedState(here, CheckpointManifest.read(UPath(here)), Progress.read(here))
        refusal = everywhere[_FAULT]
        if context.rank == 0:
            print(f"omnimat: {refusal}; the checkpoint before {name} is looked at", flush=True)
    if refusal is not None:
        raise RunError(
            f"no checkpoint of {context.run} can be read ({refusal}); put a good copy in its place "
            "or begin anew with --fresh"
        )
    return None


def found_checkpoints(run: UPath) -> tuple[list[str], str | None]:
    """Name the complete checkpoints of a run, newest first.

    What is newer than all of them was left by a kill or by an older version; that it is left out is
    printed.

    Returns:
        The names of the folders, and if there is none, what is there instead that nobody can read,
        or else None.
    """
    found = checkpoints(run)
    complete = [path.name for path in found if is_complete(path)]
    for path in found:
        if path.name in complete:
            break
        if not is_of_older_version(path):
            print(f"omnimat: {path} is incomplete and is left out: it has no manifest", flush=True)
            continue
        refusal = f"{path} was written by an older version of omnimat"
        if not complete:
            return [], refusal
        print(f"omnimat: {refusal} and is left out; it stays where it is", flush=True)
    return complete, None


def _bring(checkpoint: UPath, copy: Path, rank: int) -> dict[str, str]:
    """Check a checkpoint for this machine, and copy it if it is remote.

    Returns:
        The folder under the smallest rank of this machine, or else what is wrong with it.
    """
    try:
        manifest = CheckpointManifest.read(checkpoint)
        manifest.check_lists(checkpoint, _needed(manifest.world_size))
        manifest.check_sizes(checkpoint)
        here = Path(checkpoint.path)
        if not is_local(checkpoint):
            here = copy
            for name in (MANIFEST, *manifest.files):
                _fetch(checkpoint / name, here / name)
        manifest.check(UPath(here), manifest.files)
        Progress.read(here)
    except DamagedCheckpointError as error:
        shutil.rmtree(copy, ignore_errors=True)
        return {_FAULT: str(error)}
    return {str(rank): str(here)}


def _needed(world_size: int) -> Iterator[str]:
    """Name the files that a checkpoint of so many workers must have."""
    yield PROGRESS
    for rank in range(world_size):
        yield from (tensor_file(kind, rank, world_size) for kind in (WEIGHTS, OPTIMIZER))


def _fetch(source: UPath, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    patiently(partial(source.fs.get_file, source.path, str(target)), source)
