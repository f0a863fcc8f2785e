"""Featurizing a whole data set ahead of training, on CPU actors, into a feature store."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import ray.data
from numpy.typing import NDArray
from tqdm import tqdm
from upath import UPath

from omnimat.base.files import write_atomically, write_json
from omnimat.base.lease import HeldError, Lease
from omnimat.cluster.metrics import RayMetrics
from omnimat.cluster.placement import on_labelled
from omnimat.modalities.layout import ID_COLUMN, QUARANTINE_COLUMN
from omnimat.shards.manifest import Manifest
from omnimat.stream.location import StoreLocation
from omnimat.stream.settings import FEATURIZER_NODES
from omnimat.stream.source import Source
from omnimat.stream.store import COMPLETE, features_name, open_features, store_fingerprint
from omnimat.stream.unit import take

_POLL_INTERVAL_S = 1.0


class WriteShard:
    """Featurizes whole shards and writes each atomically, unless it is there already."""

    def __init__(self, source: Source, store: UPath) -> None:
        self._source, self._store = source, store
        self._records = Manifest.load(source.dataset).records(source.dataset)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
        """Write the shards of these numbers, and count the faulty records in each."""
        counts = [self._quarantined_in(int(shard)) for shard in batch["shard"]]
        return batch | {"quarantined": np.asarray(counts)}

    def _quarantined_in(self, shard: int) -> int:
        """Make the features of a shard unless they are there, and count the faulty records."""
        target = self._store / features_name(shard)
        if target.exists():
            features = open_features(target)
        else:
            rows = np.flatnonzero(self._records["shard"] == shard)
            features = self._source.features(take(self._records, rows))
            write_atomically(target, _arrow_file(features))
        return len(features) - int(features[QUARANTINE_COLUMN].null_count)


def _arrow_file(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def write_store(
    location: StoreLocation,
    *,
    num_featurizers: int,
    num_cpus: float,
    label_selector: Mapping[str, str] = FEATURIZER_NODES,
) -> None:
    """Featurize a data set on a pool of actors; killed and run again, this goes on.

    Several runs may need the same store: one process fills it, and the others wait.

    Args:
        location: where the store lies; a complete one is left alone.
        num_featurizers: how many actors there are.
        num_cpus: how many logical CPUs each of them asks Ray for.
        label_selector: labels of the nodes they run on; where no node carries them, on any.
    """
    lease = _taken(location)
    if lease is None:
        return
    with lease:
        if not location.is_complete:
            _write_shards(location, num_featurizers, num_cpus, label_selector)
            lease.check()
            complete(location)


def _taken(location: StoreLocation) -> Lease | None:
    """Take the lease of a store, or wait until another process has filled it."""
    is_told = False
    while not location.is_complete:
        try:
            return Lease.acquire(location.folder, f"feature store {location.folder.name}")
        except HeldError as error:
            if not is_told:
                print(f"waiting for {location.folder}, filled by {error.holder}", flush=True)
            is_told = True
            time.sleep(_POLL_INTERVAL_S)
    return None


def _write_shards(
    location: StoreLocation,
    num_featurizers: int,
    num_cpus: float,
    label_selector: Mapping[str, str],
) -> None:
    manifest, store = location.manifest, location.folder
    shards = ray.data.from_items([{"shard": i} for i in range(len(manifest.shards))])
    written = shards.repartition(target_num_rows_per_block=1).map_batches(
        WriteShard,
        fn_constructor_args=(Source(location.dataset, None, location.featurizers), store),
        compute=ray.data.ActorPoolStrategy(size=num_featurizers),
        batch_size=1,
        num_cpus=num_cpus,
        label_selector=on_labelled(label_selector),
    )
    num_quarantined = 0
    bar = tqdm(total=manifest.num_records, desc="featurize", unit="record")
    with bar, RayMetrics(location.dataset.name) as watch:
        for row in written.iter_rows():
            bar.update(manifest.shards[int(row["shard"])].num_records)
            num_quarantined += int(row["quarantined"])
            watch(
                {
                    "featurized_records": bar.n,
                    "records_to_featurize": manifest.num_records,
                    "quarantined_records": num_quarantined,
                }
            )


def complete(location: StoreLocation) -> None:
    """Write the card of a store whose shards are all there, which makes it complete."""
    manifest, store = location.manifest, location.folder
    card = {
        "dataset_fingerprint": manifest.dataset_fingerprint,
        "fingerprint": store_fingerprint(manifest, location.featurizers),
        "num_records": manifest.num_records,
        "quarantined": _quarantined(store, len(manifest.shards)),
    }
    write_json(store / COMPLETE, card)


def _quarantined(store: UPath, num_shards: int) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for shard in range(num_shards):
        table = open_features(store / features_name(shard))
        columns = table.select([ID_COLUMN, QUARANTINE_COLUMN])
        bad = columns.filter(columns[QUARANTINE_COLUMN].is_valid())
        reasons.update(zip(*(column.to_pylist() for column in bad.columns), strict=True))
    return reasons
