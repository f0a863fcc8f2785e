"""What the training loop knows of the world: a rank, a device, and where a run leaves its things.

Ray Train and torchrun both tell their workers who they are by the same environment variables.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from upath import UPath

from omnimat.training.history import History, Metrics

Watcher = Callable[[Metrics], None]


@dataclass(frozen=True)
class WorkerContext:
    """One worker's view of a run.

    Attributes:
        run: the run's folder, reachable from every worker.
        device: where this worker computes.
        watchers: what else rank 0 hands its metrics to.
    """

    run: UPath
    device: torch.device
    watchers: tuple[Watcher, ...] = ()

    @property
    def rank(self) -> int:
        """Of this worker, from 0."""
        return int(os.environ["RANK"])

    @property
    def local_rank(self) -> int:
        """Of this worker among those of its machine, from 0."""
        return int(os.environ["LOCAL_RANK"])

    @property
    def world_size(self) -> int:
        """Number of workers."""
        return int(os.environ["WORLD_SIZE"])

    def report(self, metrics: Metrics) -> None:
        """Add a line to the run's history and tell the watchers; rank 0 alone does so."""
        if self.rank == 0:
            self._history.add(metrics)
        self.tell(metrics)

    def tell(self, metrics: Metrics) -> None:
        """Tell the watchers what is no line of the history; rank 0 alone does so."""
        if self.rank == 0:
            for watch in self.watchers:
                watch(metrics)

    @cached_property
    def _history(self) -> History:
        return History.begin(self.run)
