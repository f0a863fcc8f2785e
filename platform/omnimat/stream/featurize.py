"""Featurizing a whole data set ahead of training, on CPU actors, into a feature store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import ray.data
from numpy.typing import NDArray
from pydantic import ValidationError
from tqdm import tqdm
from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import RunError, UserError
from omnimat.base.files import read_file, write_atomically
from omnimat.base.lease import CheckHeld, HeldError, Lease
from omnimat.base.settings import Settings, first_mistake
from omnimat.cluster.metrics import RayMetrics
from omnimat.cluster.pace import paced
from omnimat.cluster.placement import on_labelled
from omnimat.modalities.layout import ID_COLUMN, QUARANTINE_COLUMN
from omnimat.shards.manifest import Manifest
from omnimat.stream.feature_file import FileEntry, to_arrow_file
from omnimat.stream.location import StoreLocation
from omnimat.stream.losses import DEFAULT_MAX_QUARANTINED
from omnimat.stream.settings import FEATURIZER_NODES
from omnimat.stream.source import Source
from omnimat.stream.store import COMPLETE, StoreCard, features_name, store_fingerprint
from omnimat.stream.unit import take

_POLL_INTERVAL_S = 1.0


class ShardReport(Settings):
    """What an actor tells of a shard that it featurized.

    Attributes:
        entry: what the card of the store says of the file.
        quarantined: maps the ids of faulty records to what is wrong with them.
    """

    entry: FileEntry
    quarantined: Mapping[str, str]

    @classmethod
    def of(cls, features: pa.Table, data: bytes) -> ShardReport:
        """Describe the features of a shard and the content of their file."""
        columns = features.select([ID_COLUMN, QUARANTINE_COLUMN])
        bad = columns.filter(columns[QUARANTINE_COLUMN].is_valid())
        reasons = zip(*(column.to_pylist() for column in bad.columns), strict=True)
        return cls(entry=FileEntry.of(data), quarantined=dict(reasons))


class WriteShard:
    """Featurizes whole shards and writes each atomically, unless it is there already.

    Beside each file it leaves its report, by which the next start tells whether the file is as it
    was written.
    """

    def __init__(self, source: Source, store: UPath, check_held: CheckHeld) -> None:
        self._source, self._store, self._check_held = source, store, check_held
        self._records = Manifest.load(source.dataset).records(source.dataset)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
        """Write the shards of these numbers, and give the report of each as JSON.

        An error that explains itself stands for a report, since Ray Data would bury its sentence in
        tracebacks.
        """
        reports, errors = [], []
        for shard in batch["shard"]:
            try:
                reports.append(self.write(int(shard)).model_dump_json())
                errors.append("")
            except (RunError, UserError) as error:
                reports.append("")
                errors.append(str(error))
        return batch | {"report": reports, "error": errors}

    def write(self, shard: int) -> ShardReport:
        """Make the features of a shard, unless a start that was killed has left them."""
        target = self._store / features_name(shard)
        rows = np.flatnonzero(self._records["shard"] == shard)
        if (kept := self._kept(target, len(rows))) is not None:
            return kept
        features = self._source.features(take(self._records, rows))
        data = to_arrow_file(features)
        report = ShardReport.of(features, data)
        self._check_held()
        write_atomically(target, data)
        self._check_held()
        write_checked_json(_report_of(target), report.model_dump(mode="json"))
        return report

    def _kept(self, path: UPath, num_rows: int) -> ShardReport | None:
        """Give the report of a file if both are there as they were written."""
        again = f"{path.name} is made again"
        try:
            told = read_checked_json(_report_of(path), again)
            report, data = ShardReport.model_validate(told), read_file(path)
        except FileNotFoundError:
            return None
        except ValidationError as error:
            print(f"{_report_of(path)} is damaged ({first_mistake(error)}): {again}", flush=True)
            return None
        except UserError as error:
            print(error, flush=True)
            return None
        if FileEntry.of(data) != report.entry:
            print(f"{path} was changed after it was written: it is made again", flush=True)
            return None
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        is_whole = len(table) == num_rows and table.schema == self._source.schema
        return report if is_whole else None


def _report_of(path: UPath) -> UPath:
    return path.with_suffix(".json")


def write_store(
    location: StoreLocation,
    *,
    num_featurizers: int,
    num_cpus: float,
    max_quarantined: float = DEFAULT_MAX_QUARANTINED,
    label_selector: Mapping[str, str] = FEATURIZER_NODES,
) -> None:
    """Featurize a data set on a pool of actors; killed and run again, this goes on.

    Several runs may need the same store: one process fills it, and the others wait.

    Args:
        location: where the store lies; a complete one is left alone.
        num_featurizers: how many actors there are.
        num_cpus: how many logical CPUs each of them asks Ray for.
        max_quarantined: the largest share of the records that may be quarantined.
        label_selector: labels of the nodes they run on; where no node carries them, on any.

    Raises:
        RunError: more records than ``max_quarantined`` allows are quarantined. The store stays.
    """
    lease = _taken(location)
    if lease is not None:
        with lease:
            if not location.is_complete:
                _remove_unchecked(location.folder)
                check_held = lease.fence.check
                reports = _write_shards(
                    location, num_featurizers, num_cpus, label_selector, check_held
                )
                lease.check()
                complete(location, reports)
    location.losses().check(max_quarantined)


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
    check_held: CheckHeld,
) -> list[ShardReport]:
    manifest = location.manifest
    source = Source(location.dataset, None, location.featurizers)
    # A block each. To have Ray Data cut them takes a task, for which actors may leave no CPU.
    numbers = [pd.DataFrame({"shard": [shard]}) for shard in range(len(manifest.shards))]
    written = ray.data.from_blocks(numbers).map_batches(
        WriteShard,
        fn_constructor_args=(source, location.folder, check_held),
        compute=ray.data.ActorPoolStrategy(size=num_featurizers),
        batch_size=1,
        num_cpus=num_cpus,
        label_selector=on_labelled(label_selector),
    )
    reports: dict[int, ShardReport] = {}
    num_quarantined = 0
    bar = tqdm(total=manifest.num_records, desc="featurize", unit="record")
    with bar, RayMetrics(location.dataset.name) as watch:
        for row in paced(written).iter_rows():
            if row["error"]:
                raise RunError(row["error"])
            report = ShardReport.model_validate_json(row["report"])
            reports[int(row["shard"])] = report
            num_quarantined += len(report.quarantined)
            bar.update(manifest.shards[int(row["shard"])].num_records)
            watch(
                {
                    "featurized_records": bar.n,
                    "records_to_featurize": manifest.num_records,
                    "quarantined_records": num_quarantined,
                }
            )
    return [reports[shard] for shard in range(len(manifest.shards))]


def complete(location: StoreLocation, reports: Sequence[ShardReport]) -> None:
    """Write the card of a store whose shards are all there, which makes it complete.

    Args:
        location: where the store lies.
        reports: what was written of each shard, in their order.
    """
    manifest = location.manifest
    StoreCard(
        dataset_fingerprint=manifest.dataset_fingerprint,
        fingerprint=store_fingerprint(manifest, location.featurizers),
        num_records=manifest.num_records,
        quarantined={key: why for one in reports for key, why in one.quarantined.items()},
        files=tuple(one.entry for one in reports),
    ).save(location.folder)


def _remove_unchecked(store: UPath) -> None:
    """Remove a store that has no checksums, so that it is made again.

    The card goes last: as long as it is there, a start after a kill goes on removing.
    """
    card = StoreCard.read(store)
    if card is not None and not card.has_checksums:
        print(
            f"{store} was written by an older omnimat and cannot be checked: it is made again",
            flush=True,
        )
        for path in [*store.glob("*.arrow"), store / COMPLETE]:
            path.unlink()
