"""How long a run takes on so many workers: arithmetic on measured rates, and no more.

A run is as fast as the slowest of three: its workers, the featurizers that feed them, and, where
processes are more than cores, the cores that all share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from omnimat.training.forecast.rates import Rates

START_S = 30.0
"""From the submission to the first step on a cluster whose nodes are there."""

Bottleneck = Literal["workers", "featurizers", "cores"]


@dataclass(frozen=True)
class Work:
    """What a run does.

    Attributes:
        num_steps: of the run.
        global_batch_size: materials a step.
        num_ahead: materials featurized into a store before the first step.
        num_ahead_actors: that do so.
        featurizes_on_the_way: whether records are featurized while training runs.
    """

    num_steps: int
    global_batch_size: int
    num_ahead: int
    num_ahead_actors: int
    featurizes_on_the_way: bool


@dataclass(frozen=True)
class Machines:
    """Where it does it.

    Attributes:
        num_workers: that train.
        num_featurizers: actors that feed all workers together; of a store, its readers.
        device: that each worker trains on.
        cores_per_worker: that one keeps busy while it computes.
        num_cores: that all processes share; None: each has its own.
        speedup: of a worker there against the one that was measured.
        interconnect_gbit_per_s: between workers.
    """

    num_workers: int
    num_featurizers: int
    device: Literal["cpu", "cuda"] = "cpu"
    cores_per_worker: int = 1
    num_cores: float | None = None
    speedup: float = 1.0
    interconnect_gbit_per_s: float = 10.0

    @property
    def num_busy_cores(self) -> float:
        """Cores that are occupied and paid for."""
        return self.num_cores or self.num_workers * self.cores_per_worker + self.num_featurizers


@dataclass(frozen=True)
class Prediction:
    """What a run will take.

    Attributes:
        workers_per_s: materials a second that the workers could take.
        featurizers_per_s: materials a second that the featurizers could give.
        cores_per_s: materials a second that the shared cores allow; inf where none are shared.
        num_steps: of the run.
        global_batch_size: materials a step.
        ahead_s: before training, to fill a feature store.
    """

    workers_per_s: float
    featurizers_per_s: float
    cores_per_s: float
    num_steps: int
    global_batch_size: int
    ahead_s: float

    @property
    def samples_per_s(self) -> float:
        """Materials a second of training."""
        return min(self.workers_per_s, self.featurizers_per_s, self.cores_per_s)

    @property
    def bottleneck(self) -> Bottleneck:
        """What the rest waits for."""
        speeds: dict[Bottleneck, float] = {
            "workers": self.workers_per_s,
            "featurizers": self.featurizers_per_s,
            "cores": self.cores_per_s,
        }
        return min(speeds, key=lambda name: speeds[name])

    @property
    def run_s(self) -> float:
        """Of the whole run."""
        return START_S + self.ahead_s + self.num_steps * self.global_batch_size / self.samples_per_s


def predict(rates: Rates, work: Work, machines: Machines) -> Prediction:
    """Predict a run from what its parts were measured to take."""
    batch = work.global_batch_size
    share = batch / machines.num_workers
    compute_s = rates.step.seconds(share, batch) / machines.speedup
    collate_s = share * rates.collate_s
    together_s = exchange_s(rates, machines, batch) + waiting_s(rates, machines)
    stream_s = _stream_s(rates, work)
    core_s = (machines.cores_per_worker * compute_s + collate_s) / share + stream_s
    cores = math.inf if machines.num_cores is None else machines.num_cores
    shared_s = batch * core_s / cores + together_s
    actors = min(work.num_ahead_actors, cores)
    return Prediction(
        workers_per_s=batch / (compute_s + collate_s + together_s),
        featurizers_per_s=machines.num_featurizers / stream_s,
        cores_per_s=batch / shared_s if machines.num_cores else math.inf,
        num_steps=work.num_steps,
        global_batch_size=batch,
        ahead_s=work.num_ahead * (rates.read_s + rates.featurize_s) / actors,
    )


def exchange_s(rates: Rates, machines: Machines, global_batch_size: int) -> float:
    """Give the seconds a step that a worker spends sending: a ring, no overlap with computing.

    Gradients are summed (2 (W - 1) / W of their bytes), embeddings are gathered on the way forward
    and their gradients are scattered on the way back ((W - 1) / W of all rows, twice).
    """
    share = (machines.num_workers - 1) / machines.num_workers
    num_bytes = 2 * share * (rates.gradient_bytes + global_batch_size * rates.embedding_bytes)
    return num_bytes / (machines.interconnect_gbit_per_s * 1e9 / 8)


def waiting_s(rates: Rates, machines: Machines) -> float:
    """Give the seconds a step that workers wait for each other, more at each doubling."""
    return (rates.waiting_s or 0.0) * math.log2(machines.num_workers)


def featurizers_needed(rates: Rates, work: Work, machines: Machines) -> int:
    """Count the actors with which the workers never wait for data."""
    prediction = predict(rates, work, machines)
    return math.ceil(prediction.workers_per_s * _stream_s(rates, work))


def _stream_s(rates: Rates, work: Work) -> float:
    """Give the seconds of a core that a material takes on its way to a worker."""
    return rates.read_s + (rates.featurize_s if work.featurizes_on_the_way else 0.0)
