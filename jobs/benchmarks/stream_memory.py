"""Peak memory of the stream by number of shards, with and without Ray.

    python jobs/benchmarks/stream_memory.py

Each measurement is a process of its own that goes once through the shards, which are links to a
few, so that the disk need not hold them. In process, the figure is the peak of the resident set.
Under Ray it is the sampled sum of the proportional set sizes of the process and of all that it
started (daemons, readers, featurizers), the object store included. The index of the records is held
in memory as a whole, and its size is given apart.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psutil
from measure import in_fresh_process, peak_mb, report
from stream_throughput import ENVIRONMENT, write_dataset
from upath import UPath

from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.dos.features import DosCurve
from omnimat.shards.manifest import Manifest, shard_name
from omnimat.sources.prototypes import Prototypes
from omnimat.stream.order import BatchPlan
from omnimat.stream.source import Source
from omnimat.stream.worker import Pipeline, WorkerStream, in_process

RECORDS_PER_SHARD = 32
NUM_ORIGINALS = 8
BATCH_SIZE = 64
READ_UNIT_BYTES = 8 * 2**20
SAMPLE_INTERVAL_S = 0.2
INDEX_NAME = "repeated.parquet"


def main() -> None:
    """Measure every number of shards in both ways."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shards", type=int, nargs="+", default=(16, 160, 1600))
    parser.add_argument("--measure", choices=("in process", "Ray"), help=argparse.SUPPRESS)
    parser.add_argument("--dataset", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.dataset)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        originals = Path(folder) / "originals"
        num_records = NUM_ORIGINALS * RECORDS_PER_SHARD
        source = Prototypes(num_materials=num_records)
        write_dataset(UPath(originals), source, num_records, RECORDS_PER_SHARD)
        for num_shards in options.shards:
            dataset = repeat(originals, Path(folder) / str(num_shards), num_shards)
            rows += [
                {"way": way, "shards": num_shards}
                | in_fresh_process("--measure", way, "--dataset", dataset, **ENVIRONMENT)
                for way in ("in process", "Ray")
            ]
    rows.sort(key=lambda row: (row["way"], row["shards"]))
    report("peak memory of the stream", rows)


def repeat(originals: Path, folder: Path, num_shards: int) -> Path:
    """Make a data set of ``num_shards`` shards, which are links."""
    folder.mkdir()
    records = Manifest.load(UPath(originals)).records(UPath(originals))
    parts = []
    for shard in range(num_shards):
        original = shard % NUM_ORIGINALS
        os.link(originals / shard_name(original), folder / shard_name(shard))
        parts.append(records[records["shard"] == original].assign(shard=shard))
    pd.concat(parts, ignore_index=True).to_parquet(folder / INDEX_NAME)
    return folder


def measure(way: str, dataset: Path) -> dict[str, float]:
    """Read the data set once."""
    records = pd.read_parquet(dataset / INDEX_NAME)
    with pipeline_of(way) as pipeline, sampled_mb() as samples:
        stream = WorkerStream(
            source=Source(
                UPath(dataset), None, {"dos": DosCurve(), "charge_density": ChargeDensityGrid()}
            ),
            records=records,
            plan=BatchPlan(records["shard"].to_numpy(), BATCH_SIZE, 1, seed=0, window_shards=4),
            read_unit_bytes=READ_UNIT_BYTES,
            rank=0,
            world_size=1,
            pipeline=pipeline,
        )
        started_s = time.perf_counter()
        for _ in stream.batches():
            pass
        seconds = time.perf_counter() - started_s
    if stream.audit.quarantined or stream.audit.delivered < len(records) - BATCH_SIZE:
        raise RuntimeError(f"the stream is not whole: {stream.audit}")
    return {
        "data_mb": float(records["size_bytes"].sum() / 1e6),
        "index_mb": float(records.memory_usage(deep=True).sum() / 1e6),
        "peak_mb": peak_mb() if way == "in process" else max(samples),
        "seconds": seconds,
    }


@contextmanager
def pipeline_of(way: str) -> Iterator[Pipeline]:
    """Open the pipeline that runs the read units."""
    if way == "in process":
        yield in_process
        return
    import ray

    from omnimat.stream.pipeline import RayPipeline
    from omnimat.stream.settings import StreamSettings

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        yield RayPipeline(StreamSettings(num_featurizers=2))
    finally:
        ray.shutdown()


@contextmanager
def sampled_mb() -> Iterator[list[float]]:
    """Sample the memory of this process and all below it while the context lasts."""
    samples: list[float] = []
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(SAMPLE_INTERVAL_S):
            samples.append(memory_mb())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        is_over.set()
        thread.join()


def memory_mb() -> float:
    """Add up proportional set sizes, in which what processes share counts once."""
    own = psutil.Process()
    total = 0
    for process in [own, *own.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 1e6


if __name__ == "__main__":
    main()
