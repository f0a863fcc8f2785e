"""Measures the time of each phase of a step without making host and device wait for each other."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

REST = "rest"


@dataclass
class Stopwatch:
    """Marks where one phase ends and the next begins, and adds up the times when it is read.

    A phase inside another interrupts it, so each second counts once. On a GPU each mark is a CUDA
    event in the stream, and the times are those of the GPU: computing, or idle until the host had
    the next batch. The events are not read back before ``read`` is called.

    Attributes:
        device: device whose time is measured.
    """

    device: torch.device
    _open: list[str] = field(default_factory=lambda: [REST])
    _marks: list[tuple[str, float | torch.cuda.Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._mark()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time spent inside the context under this name."""
        self._open.append(name)
        self._mark()
        try:
            yield
        finally:
            self._open.pop()
            self._mark()

    def read(self) -> dict[str, float]:
        """Return the seconds spent in each phase since the last reading; other time is ``rest``."""
        self._mark()
        seconds: dict[str, float] = {}
        for (name, start), (_, end) in itertools.pairwise(self._marks):
            seconds[name] = seconds.get(name, 0.0) + _seconds_between(start, end)
        self._marks = self._marks[-1:]
        return seconds

    def _mark(self) -> None:
        self._marks.append((self._open[-1], self._now()))

    def _now(self) -> float | torch.cuda.Event:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


def _seconds_between(start: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    if isinstance(start, float) and isinstance(end, float):
        return end - start
    assert isinstance(start, torch.cuda.Event)
    assert isinstance(end, torch.cuda.Event)
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3
