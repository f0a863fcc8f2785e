"""Throughput from shards to collated batches, compared with webdataset and torch's DataLoader.

    python jobs/benchmarks/stream_throughput.py --mp20 DATA/mp20

Both ways have the same shards, the same featurizers, and as many processes that work on rows: one
(``in_process`` against ``num_workers=0``) or ``--processes`` (featurizer actors under Ray against
workers of a DataLoader). Each measurement is a process of its own; the two ways of a pair take
turns, round by round. CPU time is that of the process and of all that it started, Ray's daemons
too, during the measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import psutil
from measure import THREAD_VARIABLES, in_fresh_process, report
from upath import UPath

from omnimat.materials.record import Record
from omnimat.modalities.batch import Batch, collate, feature_table
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.composition.features import Magpie
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.layout import Arrays, Featurizer, FeaturizerSettings, Field
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.shards.codec import decode
from omnimat.shards.manifest import Manifest
from omnimat.sources.ingest import write_slice
from omnimat.sources.merge import merge
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.sources.tables.source import Table
from omnimat.stream.order import BatchPlan
from omnimat.stream.source import Source
from omnimat.stream.worker import Pipeline, WorkerStream, in_process

Batches = Generator[Any, None, None]

# Ray's workers would have niceness 15, but other work of the machine must slow both ways alike.
ENVIRONMENT = dict.fromkeys(THREAD_VARIABLES, "1") | {"RAY_worker_niceness": "0"}
BATCH_SIZE = 256
RECORDS_PER_SHARD = 256
WINDOW_SHARDS = 8
READ_UNIT_BYTES = 16 * 2**20
NUM_EPOCHS = 10**6  # more than a measurement can reach; it ends after a given time
WARM_UP_S = 5.0
PAIRS = {"one process": ("omnimat", "webdataset"), "processes": ("omnimat, Ray", "DataLoader")}


class AsItIs(FeaturizerSettings):
    """Passes a structure on, so that the work is reading, decoding and collating alone."""

    modality: ClassVar[str] = "structure"
    index_columns: ClassVar[tuple[str, ...]] = ("has_structure",)
    type: Literal["as_it_is"] = "as_it_is"

    @property
    def fields(self) -> tuple[Field, ...]:
        """Fields of the lattice, the elements and the coordinates."""
        return (
            Field("lattice_angstrom", "float32", (3, 3)),
            Field("atomic_numbers", "int32", axis="atom"),
            Field("frac_coords", "float32", (3,), axis="atom"),
        )

    def __call__(self, record: Record) -> Arrays:
        """Return the arrays of the record."""
        structure = record.structure
        return {field.name: getattr(structure, field.name) for field in self.fields}


WORK: Mapping[str, Mapping[str, Featurizer]] = {
    "decode": {"structure": AsItIs()},
    "featurize": {
        "structure": CrystalGraph(lattice_sums="none"),
        "xrd": XrdPattern(),
        "composition": Magpie(),
    },
    "densities": {"dos": DosCurve(), "charge_density": ChargeDensityGrid()},
}


def main() -> None:
    """Measure every pair of ways on every kind of work."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mp20", type=Path, help="folder of MP-20; default: prototypes")
    parser.add_argument("--records", type=int, default=4096)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--work", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "WORK"), help=argparse.SUPPRESS)
    parser.add_argument("--dataset", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, work = options.measure
        print(json.dumps(measure(way, work, options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        datasets = write_datasets(Path(folder), options.mp20, options.records)
        rows = []
        for work in options.work:
            options.dataset = datasets["densities" if work == "densities" else "structures"]
            rows += [row for pair in PAIRS for row in compare(pair, work, options)]
    report("shards to batches", rows, records=options.records, load=os.getloadavg()[0])


def write_datasets(folder: Path, mp20: Path | None, num_records: int) -> dict[str, Path]:
    """Write a data set of small records with structures and one of large records with densities."""
    source: Table | Prototypes = Prototypes(num_materials=num_records)
    if mp20:
        path = str(mp20 / "train.csv.gz")
        source = Table(mapping="mp20", path=path, max_records=num_records)
    write_dataset(UPath(folder / "structures"), source, num_records, RECORDS_PER_SHARD)
    write_dataset(UPath(folder / "densities"), Prototypes(num_materials=512), 512, 64)
    return {name: folder / name for name in ("structures", "densities")}


def write_dataset(
    folder: UPath, source: Table | Prototypes, num_records: int, records_per_shard: int
) -> None:
    """Write the records of a source as shards."""
    settings = IngestSettings(source=source, records_per_shard=records_per_shard)
    shards = range(-(-num_records // records_per_shard))
    reports = [write_slice(settings, folder, shard, ()) for shard in shards]
    merge(name="benchmark", source={}, settings_fingerprint="", reports=reports, destination=folder)


def compare(pair: str, work: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure both ways of a pair in turn and return the medians and their ratio."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in PAIRS[pair]}
    fixed = ("--dataset", options.dataset, "--processes", options.processes)
    fixed += ("--seconds", options.seconds)
    for _ in range(options.rounds):
        for way in PAIRS[pair]:
            found[way].append(in_fresh_process(*fixed, "--measure", way, work, **ENVIRONMENT))
            print(pair, work, way, found[way][-1], file=sys.stderr, flush=True)
    rows = []
    for way, results in found.items():
        median = {key: statistics.median(r[key] for r in results) for key in results[0]}
        rows.append({"work": work, "processes": pair, "way": way, **median})
    ours, theirs = found.values()
    ratios = {
        key: statistics.median(a[key] / b[key] for a, b in zip(ours, theirs, strict=True))
        for key in ours[0]
    }
    return [*rows, {"work": work, "processes": pair, "way": "ratio", **ratios}]


def measure(way: str, work: str, options: argparse.Namespace) -> dict[str, float]:
    """Consume the batches of a way for a while and return its speed and cost."""
    started_s = time.perf_counter()
    with closing(
        open_batches(way, UPath(options.dataset), WORK[work], options.processes)
    ) as batches:
        next(batches)
        first_s = time.perf_counter()
        # What was made beyond the first batch is consumed before counting begins.
        consume(batches, WARM_UP_S)
        before_s, before_all_s = cpu_s(), machine_cpu_s()
        num_rows, seconds = consume(batches, options.seconds)
        used_s, used_by_all_s = cpu_s() - before_s, machine_cpu_s() - before_all_s
    return {
        "rows_per_s": num_rows / seconds,
        "cpu_us_per_row": 1e6 * used_s / num_rows,
        "first_batch_s": first_s - started_s,
        "cores_used": used_s / seconds,
        "cores_used_by_others": (used_by_all_s - used_s) / seconds,
    }


def consume(batches: Batches, seconds: float) -> tuple[int, float]:
    """Take batches for ``seconds``; give the number of rows and the time that it took."""
    started_s = now_s = time.perf_counter()
    num_rows = 0
    while now_s - started_s < seconds:
        num_rows += len(next(batches))
        now_s = time.perf_counter()
    return num_rows, now_s - started_s


def cpu_s() -> float:
    """Give the CPU seconds that this process and all below it have used."""
    own = psutil.Process()
    total = 0.0
    for process in [own, *own.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if process is own:
            total += times.children_user + times.children_system
    return total


def machine_cpu_s() -> float:
    """Give the CPU seconds that all processes of the machine have used."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


def open_batches(
    way: str, folder: UPath, featurizers: Mapping[str, Featurizer], num_processes: int
) -> Batches:
    """Give the ids of each batch, whose arrays have been made, without end."""
    if way == "omnimat":
        return ours(folder, featurizers, in_process)
    if way == "omnimat, Ray":
        return ours_on_ray(folder, featurizers, num_processes)
    return theirs(folder, featurizers, 0 if way == "webdataset" else num_processes)


def ours(folder: UPath, featurizers: Mapping[str, Featurizer], pipeline: Pipeline) -> Batches:
    """Stream the data set like a worker in training."""
    records = Manifest.load(folder).records(folder)
    shards = records["shard"].to_numpy()
    stream = WorkerStream(
        source=Source(folder, None, featurizers),
        records=records,
        plan=BatchPlan(shards, BATCH_SIZE, NUM_EPOCHS, seed=0, window_shards=WINDOW_SHARDS),
        read_unit_bytes=READ_UNIT_BYTES,
        rank=0,
        world_size=1,
        pipeline=pipeline,
    )
    return (batch.material_ids for batch in stream.batches())


def ours_on_ray(
    folder: UPath, featurizers: Mapping[str, Featurizer], num_processes: int
) -> Batches:
    """Stream in the same way on a Ray of this process's own."""
    import ray

    from omnimat.stream.pipeline import RayPipeline
    from omnimat.stream.settings import StreamSettings

    settings = StreamSettings(num_featurizers=num_processes)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        yield from ours(folder, featurizers, RayPipeline(settings))
    finally:
        ray.shutdown()


def theirs(folder: UPath, featurizers: Mapping[str, Featurizer], num_workers: int) -> Batches:
    """Stream the same shards in the way that webdataset's documentation recommends."""
    import torch
    import webdataset

    def batch_of(records: list[Record]) -> Batch:
        return collate(feature_table(records, featurizers), featurizers)

    def tensors(batch: Batch) -> tuple[list[str], dict[str, Any]]:
        """Make what the DataLoader hands over in shared memory and not through a pipe."""
        arrays = {
            f"{name}.{key}": torch.from_numpy(np.ascontiguousarray(array))
            for name, modality in batch.modalities.items()
            for key, array in (*modality.arrays.items(), ("rows", modality.rows))
        }
        return batch.material_ids.to_pylist(), arrays

    urls = sorted(str(path) for path in folder.glob("shard-*.tar"))
    dataset = (
        webdataset.WebDataset(urls, shardshuffle=len(urls), seed=0)
        .shuffle(WINDOW_SHARDS * RECORDS_PER_SHARD)
        .map(as_record)
        .batched(BATCH_SIZE, collation_fn=batch_of, partial=False)
        .map(tensors)
        .with_epoch(10**9)
        .repeat(NUM_EPOCHS)
    )
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=num_workers)
    return (ids for ids, _ in loader)


def as_record(sample: dict[str, Any]) -> Record:
    """Decode a webdataset sample with the codec of omnimat."""
    members = {name: data for name, data in sample.items() if not name.startswith("__")}
    return decode(sample["__key__"], members)


if __name__ == "__main__":
    main()
