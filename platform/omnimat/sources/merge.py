"""Merges the reports of all shards into the record index, the failures and the manifest."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import remove_temporaries, write_atomically
from omnimat.base.settings import Settings
from omnimat.materials.split import SPLITS
from omnimat.materials.split import split_sha256 as hash_splits
from omnimat.shards.manifest import (
    FAILURES_NAME,
    RECORDS_NAME,
    Manifest,
    PropertyCounts,
    ShardEntry,
    dataset_fingerprint,
    records_schema,
)


class ShardReport(Settings):
    """What the task of a shard found; it is kept beside the shard until the manifest is written.

    Attributes:
        entry: entry of the shard in the manifest.
        excluded_ids: ids that were left out because an earlier shard holds them.
        rows: rows of ``records_schema()``, without the column ``shard``.
        failures: (material id, reason) of each failure.
        licences: distinct licences of the records.
        database_versions: distinct database versions of the records.
        label_ids: id under which the tables of labels know each record, by its own id; None where
            they do not know it.
        replaced_properties: for how many records a label stands in place of a property.
        property_counts: how many records of each split know each property; None if not counted.
    """

    excluded_ids: tuple[str, ...]
    entry: ShardEntry
    rows: tuple[Mapping[str, Any], ...]
    failures: tuple[tuple[str, str], ...]
    licences: tuple[str, ...]
    database_versions: tuple[str, ...]
    label_ids: Mapping[str, str | None] = {}
    replaced_properties: Mapping[str, int] = {}
    property_counts: PropertyCounts | None = None


def duplicates(reports: Mapping[int, ShardReport]) -> dict[int, tuple[str, ...]]:
    """Return for each shard the ids that an earlier shard holds, if there are any."""
    holder: dict[str, int] = {}
    again: dict[int, tuple[str, ...]] = {}
    for shard, report in sorted(reports.items()):
        ids = [row["material_id"] for row in report.rows]
        if seen := tuple(material_id for material_id in ids if material_id in holder):
            again[shard] = seen
        holder.update(dict.fromkeys(ids, shard))
    return again


def merge(
    *,
    name: str,
    source: Mapping[str, Any],
    settings_fingerprint: str,
    reports: Sequence[ShardReport],
    destination: UPath,
) -> Manifest:
    """Write the index, the failures and finally the manifest, whose presence means "finished".

    Raises:
        UserError: none of the records is valid.
    """
    rows = [{"shard": shard, **row} for shard, report in enumerate(reports) for row in report.rows]
    if not rows:
        raise UserError(
            f"the source of {name} has no valid record; the first failure is "
            f"{_first_failure(reports)}"
        )
    records = _parquet_bytes(rows)
    write_atomically(destination / RECORDS_NAME, records)
    failures = [
        json.dumps({"material_id": material_id, "reason": reason, "shard": shard})
        for shard, report in enumerate(reports)
        for material_id, reason in report.failures
    ]
    text = "".join(f"{line}\n" for line in failures)
    write_atomically(destination / FAILURES_NAME, text.encode())
    shards = tuple(report.entry for report in reports)
    _remove_leftovers(destination, {shard.name for shard in shards})
    splits = hash_splits((row["material_id"], row["split"]) for row in rows)
    manifest = Manifest(
        name=name,
        source=source,
        settings_fingerprint=settings_fingerprint,
        licences=_union(report.licences for report in reports),
        database_versions=_union(report.database_versions for report in reports),
        shards=shards,
        split_counts={split: sum(row["split"] == split for row in rows) for split in SPLITS},
        split_sha256=splits,
        records_sha256=hashlib.sha256(records).hexdigest(),
        num_failures=len(failures),
        dataset_fingerprint=dataset_fingerprint(shards, splits),
        property_counts=_property_counts(reports),
    )
    manifest.save(destination)
    return manifest


def _first_failure(reports: Sequence[ShardReport]) -> str:
    return next(
        f"{material_id}: {reason}" for report in reports for material_id, reason in report.failures
    )


def _parquet_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=records_schema()), buffer)
    return buffer.getvalue()


def _remove_leftovers(destination: UPath, shard_names: set[str]) -> None:
    """Remove shards that an unfinished ingest with other settings left."""
    for path in list(destination.glob("shard-*.tar")):
        if path.name not in shard_names:
            path.unlink()
    remove_temporaries(destination)


def _property_counts(reports: Iterable[ShardReport]) -> PropertyCounts | None:
    """Add up the counts of all shards; None if some were not counted."""
    total: dict[str, Counter[str]] = {}
    for report in reports:
        if report.property_counts is None:
            return None
        for name, counts in report.property_counts.items():
            total.setdefault(name, Counter()).update(counts)
    return {name: dict(sorted(total[name].items())) for name in sorted(total)}


def _union(values: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(sorted({value for several in values for value in several}))
