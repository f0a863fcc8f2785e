"""Peak memory of the stream by number of shards, with and without Ray.

    python jobs/benchmarks/stream_memory.py --json stream_memory.json

Each measurement is a separate process that reads all shards once. The shards are links to a few
files, so that they need little disk. In process, the memory is the high-water mark of the resident
set. Under Ray, it is the sampled sum of the proportional set sizes of the process and all that it
started (daemons, reader, featurizers), including the object store. The index of the records is held
in memory as a whole; its size is listed separately.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psutil
from measure import report
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
    parser.add_argument("--json", type=Path)
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
                {"way": way, "shards": num_shards, **in_fresh_process(way, dataset)}
                for way in ("in process", "Ray")
            ]
    rows.sort(key=lambda row: (row["way"], row["shards"]))
    report("peak memory of the stream", rows)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1))


def repeat(originals: Path, folder: Path, num_shards: int) -> Path:
    """Make a data set whose shards are links to a few files."""
    folder.mkdir()
    records = Manifest.load(UPath(originals)).records(UPath(originals))
    parts = []
    for shard in range(num_shards):
        original = shard % NUM_ORIGINALS
        os.link(originals / shard_name(original), folder / shard_name(shard))
        parts.append(records[records["shard"] == original].assign(shard=shard))
    pd.concat(parts, ignore_index=True).to_parquet(folder / INDEX_NAME)
    return folder


def in_fresh_process(way: str, dataset: Path) -> dict[str, float]:
    """Measure one way in a separate process."""
    command = [sys.executable, "-W", "ignore", __file__, "--measure", way]
    command += ["--dataset", str(dataset)]
    result = subprocess.run(
        command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(result.stderr)
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def measure(way: str, dataset: Path) -> dict[str, float]:
    """Read the data set once."""
    records = pd.read_parquet(dataset / INDEX_NAME)
    with pipeline_of(way) as pipeline, peak_mb() as peaks:
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
        "data_mb": float(records["size_bytes"].sum() / 2**20),
        "index_mb": float(records.memory_usage(deep=True).sum() / 2**20),
        "peak_mb": high_water_mark_mb() if way == "in process" else max(peaks),
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
def peak_mb() -> Iterator[list[float]]:
    """Sample the memory of this process and its descendants inside the context."""
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


def high_water_mark_mb() -> float:
    """Return the largest memory that this process has ever had, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def memory_mb() -> float:
    """Return the sum of proportional set sizes, which counts shared memory only once, in MiB."""
    own = psutil.Process()
    total = 0
    for process in [own, *own.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 2**20


if __name__ == "__main__":
    main()
