"""Featurizing on CPU actors: within the stream, or ahead of it into a feature store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from numpy.typing import NDArray
from tqdm import tqdm
from upath import UPath

from omnimat.features.batch import Quarantined, feature_table
from omnimat.features.layout import ID_COLUMN, QUARANTINE_COLUMN, Featurizer
from omnimat.materials.record import Modality, Record
from omnimat.shards.codec import EXTENSIONS, decode
from omnimat.shards.manifest import Manifest
from omnimat.stream.store import COMPLETE, features_name, open_features, store_fingerprint
from omnimat.stream.unit import read_from_shards, take


class FeaturizeActor:
    """Stateless but for its settings; an actor, so that imports are paid once."""

    def __init__(self, featurizers: Mapping[Modality, Featurizer]) -> None:
        self._featurizers = featurizers

    def __call__(self, raw: pa.Table) -> pa.Table:
        """Featurize each row; a bad one keeps its place, empty, with the reason."""
        return feature_table(decoded(raw), self._featurizers)


def decoded(raw: pa.Table) -> Iterator[Record | Quarantined]:
    """Decode the rows of a raw table."""
    for row in raw.to_pylist():
        yield _decode(row)


def _decode(row: Mapping[str, Any]) -> Record | Quarantined:
    material_id = row[ID_COLUMN]
    if row[QUARANTINE_COLUMN] is not None:
        return Quarantined(material_id, row[QUARANTINE_COLUMN])
    members = {name: row[name] for name in EXTENSIONS if row[name] is not None}
    try:
        return decode(material_id, members)
    except ValueError as error:
        return Quarantined(material_id, str(error))


class _WriteShard:
    """Featurizes whole shards and writes each atomically; a shard already there is left."""

    def __init__(
        self, dataset: UPath, store: UPath, featurizers: Mapping[Modality, Featurizer]
    ) -> None:
        self._dataset, self._store = dataset, store
        self._records = Manifest.load(dataset).records(dataset)
        self._featurize = FeaturizeActor(featurizers)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
        for shard in batch["shard"]:
            target = self._store / features_name(int(shard))
            if not target.exists():
                self._write(target, np.flatnonzero(self._records["shard"] == shard))
        return batch

    def _write(self, target: UPath, positions: NDArray[np.int64]) -> None:
        (raw,) = read_from_shards(self._dataset, take(self._records, positions))
        partial_file = target.with_name(target.name + ".partial")
        features = self._featurize(raw)
        with partial_file.open("wb") as sink, pa.ipc.new_file(sink, features.schema) as writer:
            writer.write_table(features)
        partial_file.rename(target)


def write_store(
    dataset: UPath,
    store: UPath,
    featurizers: Mapping[Modality, Featurizer],
    *,
    num_featurizers: int,
    num_cpus: float,
) -> None:
    """Featurize a data set on a pool of actors; killed and run again, it goes on.

    Args:
        dataset: folder of shards and manifest.
        store: folder to write; left alone where it is complete.
        featurizers: one a modality.
        num_featurizers: actors.
        num_cpus: logical CPUs of each.
    """
    if (store / COMPLETE).exists():
        return
    manifest = Manifest.load(dataset)
    store.mkdir(parents=True, exist_ok=True)
    shards = ray.data.from_items([{"shard": i} for i in range(len(manifest.shards))])
    written = shards.repartition(target_num_rows_per_block=1).map_batches(
        _WriteShard,
        fn_constructor_args=(dataset, store, featurizers),
        compute=ray.data.ActorPoolStrategy(size=num_featurizers),
        batch_size=1,
        num_cpus=num_cpus,
    )
    with tqdm(total=manifest.num_records, desc="featurize", unit="record") as progress:
        for row in written.iter_rows():
            progress.update(manifest.shards[int(row["shard"])].num_records)
    _complete(store, manifest, featurizers)


def _complete(store: UPath, manifest: Manifest, featurizers: Mapping[Modality, Featurizer]) -> None:
    card = {
        "dataset_fingerprint": manifest.dataset_fingerprint,
        "fingerprint": store_fingerprint(manifest, featurizers),
        "num_records": manifest.num_records,
        "quarantined": _quarantined(store, len(manifest.shards)),
    }
    (store / COMPLETE).write_text(json.dumps(card, indent=1) + "\n")


def _quarantined(store: UPath, num_shards: int) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for shard in range(num_shards):
        table = open_features(store / features_name(shard))
        columns = table.select([ID_COLUMN, QUARANTINE_COLUMN])
        bad = columns.filter(columns[QUARANTINE_COLUMN].is_valid())
        reasons.update(zip(*(column.to_pylist() for column in bad.columns), strict=True))
    return reasons
