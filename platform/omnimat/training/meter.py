"""The metrics of a report: a line of the run's history, later a row of ``metrics.parquet``.

=========================  =========================================================================
``step``, ``epoch``        steps and epochs taken so far; epochs are fractional
``lr``                     learning rate of the last step
``num_workers``            number of workers that took it; varies in a run with ``min_workers``
``loss``, ``loss/<pair>``  what is minimised and the loss of each pair (``structure|text``, or
                           ``structure->xrd`` of a regression, before its weight), averaged since
                           the last report; all workers
``loss_is_finite``         1, or 0 where the loss is NaN or infinite
``samples_per_s``          materials per second, however many views each has; all workers
``step_s``                 seconds per step, of which ``<phase>_s`` in each of ``PHASES``
``data_wait_share``        fraction of a step's time spent waiting for data
``<stage>_rows_per_s``     rows (one per view) that a stage handles per second while it is busy:
                           ``read`` and ``featurize`` (with decoding) in one actor, ``collate`` in
                           the trainer's process
``queued_rows``            rows that lay ready for the trainer, averaged over time; if there are
                           none and the trainer waits for data, add featurizers
``quarantined_records``    records quarantined so far in the run, each counted once; all workers
=========================  =========================================================================

Metrics that are not marked "all workers" are those of rank 0. One actor reads and then featurizes,
so there is a single queue, between the actors and the trainer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from omnimat.stream.timing import StreamMeter
from omnimat.training.gather import sum_over_workers
from omnimat.training.stopwatch import Stopwatch

T = TypeVar("T")

# "backward" includes the reduction of gradients, which DeepSpeed does during the backward pass.
# "gather" is the exchange of embeddings only; batch norm's exchange is part of the pass it is in.
PHASES = ("data_wait", "forward", "gather", "loss", "backward", "optimizer", "checkpoint", "rest")


@dataclass
class Meter:
    """Sums losses on the device and times the loop; copies nothing back before ``read``.

    Attributes:
        global_batch_size: number of materials in a step, however many views each has.
        stopwatch: stopwatch of this worker's device.
        stream: meter of this worker's data stream.
    """

    global_batch_size: int
    stopwatch: Stopwatch
    stream: StreamMeter
    _shares: dict[str, Tensor] = field(default_factory=dict)
    _num_steps: int = 0

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Count the time spent inside the context under one of ``PHASES``."""
        return self.stopwatch.phase(name)

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches, counting the time spent waiting for each."""
        source = iter(batches)
        while True:
            with self.phase("data_wait"):
                batch = next(source, None)
            if batch is None:
                return
            yield batch

    def add(self, shares: Mapping[str, Tensor]) -> None:
        """Count a step and add this worker's shares of ``loss`` and each ``loss/<pair>``."""
        for name, share in shares.items():
            self._shares[name] = self._shares.get(name, torch.zeros_like(share)) + share.detach()
        self._num_steps += 1

    def read(self) -> dict[str, float]:
        """Return the means since the last reading and start again; all workers must call this.

        Returns:
            The metrics from ``loss`` to ``queued_rows`` in the table above.
        """
        total = sum_over_workers(torch.stack(list(self._shares.values()))) / self._num_steps
        losses = total.tolist()  # waits for the device, so the clock is read afterwards
        seconds = self.stopwatch.read()
        elapsed_s = sum(seconds.values())
        step_s = elapsed_s / self._num_steps
        metrics = dict(zip(self._shares, losses, strict=True))
        # A metric of its own, because Ray exports no value at all where the loss is not finite.
        metrics["loss_is_finite"] = float(math.isfinite(metrics["loss"]))
        metrics |= {"samples_per_s": self.global_batch_size / step_s, "step_s": step_s}
        metrics |= {f"{name}_s": seconds.get(name, 0.0) / self._num_steps for name in PHASES}
        metrics["data_wait_share"] = metrics["data_wait_s"] / step_s
        self._shares, self._num_steps = {}, 0
        return metrics | self.stream.read(time.perf_counter())


def progress_line(metrics: Mapping[str, float], num_steps: int) -> str:
    """Format where a run stands as one line."""
    pairs = "  ".join(
        f"{name.removeprefix('loss/')} {value:.3f}"
        for name, value in metrics.items()
        if name.startswith("loss/")
    )
    return (
        f"step {metrics['step']:.0f}/{num_steps}  loss {metrics['loss']:.4f}  [{pairs}]  "
        f"lr {metrics['lr']:.2e}  {metrics['samples_per_s']:.0f} samples/s  "
        f"data wait {metrics['data_wait_share']:.0%}"
    )
