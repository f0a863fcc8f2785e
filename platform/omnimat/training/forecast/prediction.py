"""Predicts how long a run takes on some number of workers, by arithmetic on measured rates.

A run is as fast as the slowest of three: its workers, the featurizers that feed them, and, where
there are more processes than cores, the cores that all of them share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from omnimat.training.forecast.rates import Rates

START_S = 15.0
"""Seconds from the submission to the first step on a cluster whose nodes are running.

``jobs/benchmarks/start.py`` measured 13.5 on two cores, by ``ray job submit``, and 21 on two slower
ones: Ray's processes and their imports, which a larger run does not make longer.
"""

Bottleneck = Literal["workers", "featurizers", "cores"]


@dataclass(frozen=True)
class Work:
    """The amount of work of a run.

    Attributes:
        num_steps: number of steps of the run.
        global_batch_size: number of materials per step.
        num_ahead: number of materials featurized into a store before the first step.
        num_ahead_actors: number of actors that fill this store.
        featurizes_on_the_way: whether records are featurized while training runs.
    """

    num_steps: int
    global_batch_size: int
    num_ahead: int
    num_ahead_actors: int
    featurizes_on_the_way: bool


@dataclass(frozen=True)
class Machines:
    """The machines on which a run would train.

    Attributes:
        num_workers: number of workers that train.
        num_featurizers: number of actors that feed all workers together. With a feature store,
            these are the readers of the store.
        device: kind of device on which each worker trains.
        cores_per_worker: number of cores that a worker keeps busy while it computes.
        num_cores: number of cores that all processes share; None where each has its own.
        speedup: speed of a worker relative to the one that was measured.
        interconnect_gbit_per_s: bandwidth between workers.
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
        """Number of cores that are occupied and paid for."""
        return self.num_cores or self.num_workers * self.cores_per_worker + self.num_featurizers


@dataclass(frozen=True)
class Prediction:
    """The predicted speed and duration of a run.

    Attributes:
        workers_per_s: materials per second that the workers could train on.
        featurizers_per_s: materials per second that the featurizers could deliver.
        cores_per_s: materials per second that the shared cores allow; inf where none are shared.
        num_steps: number of steps of the run.
        global_batch_size: number of materials per step.
        ahead_s: seconds spent before training to fill a feature store.
    """

    workers_per_s: float
    featurizers_per_s: float
    cores_per_s: float
    num_steps: int
    global_batch_size: int
    ahead_s: float

    @property
    def samples_per_s(self) -> float:
        """Materials per second of training."""
        return min(self.workers_per_s, self.featurizers_per_s, self.cores_per_s)

    @property
    def bottleneck(self) -> Bottleneck:
        """The slowest part, for which the others wait."""
        speeds: dict[Bottleneck, float] = {
            "workers": self.workers_per_s,
            "featurizers": self.featurizers_per_s,
            "cores": self.cores_per_s,
        }
        return min(speeds, key=lambda name: speeds[name])

    @property
    def run_s(self) -> float:
        """Seconds of the whole run."""
        return START_S + self.ahead_s + self.num_steps * self.global_batch_size / self.samples_per_s


def largest_share(global_batch_size: int, num_workers: int) -> int:
    """Return the number of materials of the workers that have most, for whom the others wait."""
    return math.ceil(global_batch_size / num_workers)


def predict(rates: Rates, work: Work, machines: Machines) -> Prediction:
    """Predict a run from the measured rates of its parts."""
    batch = work.global_batch_size
    share = largest_share(batch, machines.num_workers)
    compute_s = rates.step.seconds(share, batch) / machines.speedup
    collate_s = share * rates.collate_s
    together_s = exchange_s(rates, machines, batch) + waiting_s(rates, machines)
    stream_s = _stream_s(rates, work)
    core_s = (machines.cores_per_worker * compute_s + collate_s) / share + stream_s
    cores = math.inf if machines.num_cores is None else machines.num_cores
    shared_s = batch * core_s / cores + together_s
    actors = min(work.num_ahead_actors, cores)
    return Prediction(
        # Another thread collates the next batch meanwhile.
        workers_per_s=batch / max(compute_s + together_s, collate_s),
        featurizers_per_s=machines.num_featurizers / stream_s,
        cores_per_s=batch / shared_s if machines.num_cores else math.inf,
        num_steps=work.num_steps,
        global_batch_size=batch,
        ahead_s=work.num_ahead * (rates.read_s + rates.featurize_s) / actors,
    )


def exchange_s(rates: Rates, machines: Machines, global_batch_size: int) -> float:
    """Return the seconds per step that a worker spends on sending.

    The workers form a ring, and sending does not overlap with computing. Of W workers, each sends
    2 (W - 1) / W of the gradients' bytes to sum them, and twice (W - 1) / W of all embedding rows:
    embeddings are gathered in the forward pass and their gradients are scattered in the backward
    pass.
    """
    share = (machines.num_workers - 1) / machines.num_workers
    num_bytes = 2 * share * (rates.gradient_bytes + global_batch_size * rates.embedding_bytes)
    return num_bytes / (machines.interconnect_gbit_per_s * 1e9 / 8)


def waiting_s(rates: Rates, machines: Machines) -> float:
    """Return the seconds per step that workers wait for each other, which grow at each doubling."""
    return (rates.waiting_s or 0.0) * math.log2(machines.num_workers)


def featurizers_needed(rates: Rates, work: Work, machines: Machines) -> int:
    """Return the number of featurizers with which the workers never wait for data."""
    prediction = predict(rates, work, machines)
    return math.ceil(prediction.workers_per_s * _stream_s(rates, work))


def _stream_s(rates: Rates, work: Work) -> float:
    """Return the core seconds that a material needs on its way to a worker."""
    return rates.read_s + (rates.featurize_s if work.featurizes_on_the_way else 0.0)
