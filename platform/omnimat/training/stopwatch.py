"""Where a step's time goes, phase by phase, without making host and device wait for each other."""

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
    """Marks where one phase ends and the next begins; adds up when read.

    A phase inside another interrupts it, so each second counts once. On a GPU a mark is an event in
    the stream of work, and times are what the GPU spent: computing, or idle until the host had the
    next batch. Nothing is read back from it until ``read``.

    Attributes:
        device: whose time is taken.
    """

    device: torch.device
    _open: list[str] = field(default_factory=lambda: [REST])
    _marks: list[tuple[str, float | torch.cuda.Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._mark()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens inside under this name."""
        self._open.append(name)
        self._mark()
        try:
            yield
        finally:
            self._open.pop()
            self._mark()

    def read(self) -> dict[str, float]:
        """Give the seconds of each phase since the last reading, all else as ``rest``."""
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
