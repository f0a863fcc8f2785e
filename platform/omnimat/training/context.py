"""What the training loop knows of its surroundings: its rank, its device and the run's folder.

Ray Train and torchrun tell their workers the rank through the same environment variables.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from upath import UPath

from omnimat.base.lease import CheckHeld, unleased
from omnimat.training.history import History, Metrics

Watcher = Callable[[Metrics], None]


@dataclass(frozen=True)
class WorkerContext:
    """One worker's view of a run.

    Attributes:
        run: the run's folder, reachable from every worker.
        device: device on which this worker computes.
        watchers: functions to which rank 0 also passes its metrics.
        check_held: raises an error if another process has taken the run over; called before each
            write.
    """

    run: UPath
    device: torch.device
    watchers: tuple[Watcher, ...] = ()
    check_held: CheckHeld = unleased

    @property
    def rank(self) -> int:
        """Rank of this worker among all workers, counted from 0."""
        return int(os.environ["RANK"])

    @property
    def local_rank(self) -> int:
        """Rank of this worker among the workers of its machine, counted from 0."""
        return int(os.environ["LOCAL_RANK"])

    @property
    def world_size(self) -> int:
        """Number of workers."""
        return int(os.environ["WORLD_SIZE"])

    def report(self, metrics: Metrics) -> None:
        """Add a line to the run's history and tell the watchers; only rank 0 does so.

        Raises:
            LostError: another process has taken the run over.
        """
        if self.rank == 0:
            self.check_held()
            self._history.add(metrics)
        self.tell(metrics)

    def tell(self, metrics: Metrics) -> None:
        """Tell the watchers without adding to the history; only rank 0 does so."""
        if self.rank == 0:
            for watch in self.watchers:
                watch(metrics)

    @cached_property
    def _history(self) -> History:
        return History.begin(self.run)
