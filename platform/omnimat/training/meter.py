"""What a run says of itself between two reports: a line of its history, a row of metrics.parquet.

=========================  =========================================================================
``step``, ``epoch``        taken so far; the latter in fractions
``lr``                     learning rate of the last step
``num_workers``            that took it; of a run with ``min_workers`` they come and go
``loss``, ``loss/<pair>``  means since the last report, over pairs and of each pair; all workers
``loss_is_finite``         1, or 0 where the loss is NaN or infinite
``samples_per_s``          materials a second, whatever views each has; all workers
``step_s``                 seconds a step, and of these ``<phase>_s`` in each of ``PHASES``
``data_wait_share``        of a step's time
``<stage>_rows_per_s``     rows (one a view) a second while at it: ``read`` and ``featurize`` of one
                           actor, the latter decoding too, and ``collate`` of the trainer's process
``queued_rows``            rows that lay ready for the trainer, on average over time; where there
                           are none and it waits for data, add featurizers
``quarantined_records``    so far in the run, each once; all workers
=========================  =========================================================================

What is not of all workers is of rank 0. Reading and featurizing follow each other in one actor, so
there is one queue: between the actors and the trainer.
"""

from __future__ import annotations

import math
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

# Backward includes the reduction of gradients, which DeepSpeed does on the way; gather is the
# exchange of embeddings alone, and what batch norm exchanges is part of the pass it is in.
PHASES = ("data_wait", "forward", "gather", "loss", "backward", "optimizer", "checkpoint", "rest")


@dataclass
class Meter:
    """Sums losses on the device and times the loop; reads nothing back until asked.

    Attributes:
        global_batch_size: materials of a step, whatever views each has.
        stopwatch: of this worker's device.
        stream: of this worker's data.
    """

    global_batch_size: int
    stopwatch: Stopwatch
    stream: StreamMeter
    _shares: dict[str, Tensor] = field(default_factory=dict)
    _num_steps: int = 0

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Count the time of what happens inside under one of ``PHASES``."""
        return self.stopwatch.phase(name)

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass batches on, counting the time spent waiting for each."""
        source = iter(batches)
        while True:
            with self.phase("data_wait"):
                batch = next(source, None)
            if batch is None:
                return
            yield batch

    def add(self, shares: Mapping[str, Tensor]) -> None:
        """Count a step by this worker's share of each pair's loss."""
        for pair, share in shares.items():
            self._shares[pair] = self._shares.get(pair, torch.zeros_like(share)) + share.detach()
        self._num_steps += 1

    def read(self) -> dict[str, float]:
        """Give the means since the last reading, and start anew; a collective.

        Returns:
            From ``loss`` to ``queued_rows`` of the table above.
        """
        total = sum_over_workers(torch.stack(list(self._shares.values()))) / self._num_steps
        losses = total.tolist()  # waits for the device, so the clock is read after it
        seconds = self.stopwatch.read()
        elapsed_s = sum(seconds.values())
        step_s = elapsed_s / self._num_steps
        metrics = {"loss": sum(losses) / len(losses)}
        # A series of its own: where a value is not finite, Ray shows Prometheus none at all.
        metrics["loss_is_finite"] = float(math.isfinite(metrics["loss"]))
        metrics |= {f"loss/{p}": loss for p, loss in zip(self._shares, losses, strict=True)}
        metrics |= {"samples_per_s": self.global_batch_size / step_s, "step_s": step_s}
        metrics |= {f"{name}_s": seconds.get(name, 0.0) / self._num_steps for name in PHASES}
        metrics["data_wait_share"] = metrics["data_wait_s"] / step_s
        self._shares, self._num_steps = {}, 0
        return metrics | self.stream.read(elapsed_s)


def progress_line(metrics: Mapping[str, float], num_steps: int) -> str:
    """Say in one line where a run stands."""
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
