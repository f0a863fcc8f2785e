"""What a run says of itself between two reports."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from omnimat.training.gather import sum_over_workers

T = TypeVar("T")


@dataclass
class Meter:
    """Sums losses on the device and times the loop; reads nothing back until asked.

    Attributes:
        global_batch_size: materials of a step, whatever views each has.
    """

    global_batch_size: int
    _shares: dict[str, Tensor] = field(default_factory=dict)
    _num_steps: int = 0
    _waited_s: float = 0.0
    _since_s: float = field(default_factory=time.perf_counter)

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass batches on, counting the time spent waiting for each."""
        source = iter(batches)
        while True:
            start_s = time.perf_counter()
            batch = next(source, None)
            self._waited_s += time.perf_counter() - start_s
            if batch is None:
                return
            yield batch

    def add(self, shares: Mapping[str, Tensor]) -> None:
        """Count a step by this worker's share of each pair's loss."""
        for pair, share in shares.items():
            self._shares[pair] = self._shares.get(pair, torch.zeros_like(share)) + share.detach()
        self._num_steps += 1

    def read(self) -> dict[str, float]:
        """Give the means since the last reading, and start anew; a collective."""
        total = sum_over_workers(torch.stack(list(self._shares.values()))) / self._num_steps
        losses = total.tolist()  # waits for the device, so the clock is read after it
        elapsed_s = time.perf_counter() - self._since_s
        metrics = {"loss": sum(losses) / len(losses)}
        metrics |= {f"loss/{p}": loss for p, loss in zip(self._shares, losses, strict=True)}
        metrics["samples_per_s"] = self._num_steps * self.global_batch_size / elapsed_s
        metrics["data_wait_share"] = self._waited_s / elapsed_s
        self._shares, self._num_steps, self._waited_s = {}, 0, 0.0
        self._since_s = time.perf_counter()
        return metrics


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
