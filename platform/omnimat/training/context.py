"""What the training loop knows of the world: a rank, a device, and where to report.

The loop is written against ``WorkerContext``. Plain torch.distributed implements it here, Ray Train
in ``ray_launcher``, so that this path needs no Ray.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist

from omnimat.materials.workspace import METRICS

Metrics = Mapping[str, float]


class WorkerContext(Protocol):
    """One worker's view of a run."""

    @property
    def rank(self) -> int:
        """Of this worker, from 0."""

    @property
    def world_size(self) -> int:
        """Number of workers."""

    @property
    def device(self) -> torch.device:
        """Where this worker computes."""

    def report(self, metrics: Metrics, checkpoint: Path | None = None) -> None:
        """Hand over metrics and this worker's part of a checkpoint; every worker must call."""

    def latest_checkpoint(self) -> AbstractContextManager[Path | None]:
        """Open the newest complete checkpoint, or None on a first start."""


@dataclass(frozen=True)
class ProcessContext:
    """Inside a process of torchrun, or the only process there is.

    Attributes:
        folder: on a file system all workers share; gets ``metrics.jsonl`` and checkpoints.
        device: where this worker computes.
    """

    folder: Path
    device: torch.device

    @property
    def rank(self) -> int:
        """Of this worker, from 0."""
        return int(os.environ.get("RANK", "0"))

    @property
    def world_size(self) -> int:
        """Number of workers."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    def report(self, metrics: Metrics, checkpoint: Path | None = None) -> None:
        """Append metrics; merge the workers' parts of a checkpoint, then make it the newest."""
        if self.rank == 0:
            with (self.folder / METRICS).open("a") as sink:
                sink.write(json.dumps(dict(metrics)) + "\n")
        if checkpoint is None:
            return
        name = f"checkpoint_{int(metrics['step']):08d}"
        shutil.copytree(checkpoint, self.folder / name, dirs_exist_ok=True)
        shutil.rmtree(checkpoint)
        dist.barrier()
        if self.rank == 0:
            marker = self.folder / "latest.partial"
            marker.write_text(name)
            marker.rename(self.folder / "latest")
        dist.barrier()

    @contextmanager
    def latest_checkpoint(self) -> Iterator[Path | None]:
        """Open the newest complete checkpoint."""
        marker = self.folder / "latest"
        yield self.folder / marker.read_text() if marker.exists() else None
