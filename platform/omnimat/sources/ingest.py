"""Turns a source into shards, each by a task of its own; it can be resumed and is reproducible."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from tqdm import tqdm
from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.lease import Lease
from omnimat.base.provenance import sha256_of
from omnimat.base.retry import patiently
from omnimat.base.settings import fingerprint, first_mistake
from omnimat.cluster.metrics import RayMetrics, Watcher
from omnimat.cluster.tasks import in_parallel
from omnimat.materials.record import Failure, Record
from omnimat.shards.manifest import FAILURES_NAME, MANIFEST_NAME, Manifest, shard_name
from omnimat.shards.writer import write_shard
from omnimat.sources.base import RemoteSource, Run, check_not_empty
from omnimat.sources.checker import Checker
from omnimat.sources.describe import describe_missing
from omnimat.sources.finished import finished
from omnimat.sources.inputs import content_hash, input_files, save_inputs
from omnimat.sources.items import guarded_items, usual_items
from omnimat.sources.labels.joins import read_joins, remembered_joins
from omnimat.sources.labels.report import report_labels
from omnimat.sources.merge import ShardReport, duplicates, merge
from omnimat.sources.settings import IngestSettings
from omnimat.sources.small import in_turn
from omnimat.sources.summary import summary

_REPORTS_PREFIX = ".reports-"


def ingest(
    settings: IngestSettings,
    name: str,
    destination: UPath,
    report_progress: bool = True,
    retry_failures: bool = True,
) -> Manifest:
    """Write the data set ``name`` to ``destination`` by tasks of Ray, and return its manifest.

    If it is killed at any point and run again, it continues and ends with the same bytes. A
    finished data set of the same settings is returned as it is. Only items that a remote source
    could not provide are tried again, and if it still cannot, no byte changes.

    Args:
        settings: settings of the ingest.
        name: name of the data set.
        destination: folder of the data set.
        report_progress: whether progress bars are shown, and at the end what was accepted, what
            was not and why, and what was not read.
        retry_failures: whether failures of a finished data set are tried again, which is not wanted
            where other jobs merely need it.

    Raises:
        UserError: a path of the source is missing, other settings or other input files were
            ingested here before, or another process is ingesting here.
        RunError: a remote source does not answer.
    """
    means = _Means(
        functools.partial(in_parallel, settings.num_cpus_per_task),
        lambda: RayMetrics(name),
        report_progress,
    )
    return _ingest_unless_finished(settings, name, destination, retry_failures, means)


def ingest_in_turn(
    settings: IngestSettings, name: str, destination: UPath, report_progress: bool = True
) -> Manifest:
    """Do what ``ingest`` does in this process, one shard after another, to the same bytes."""
    means = _Means(in_turn, lambda: nullcontext(lambda told: None), report_progress)
    return _ingest_unless_finished(settings, name, destination, retry_failures=True, means=means)


@dataclass(frozen=True)
class _Means:
    """How a data set is written.

    Attributes:
        run: runs the parts of the work.
        watcher: shows elsewhere how far it is.
        report_progress: whether this process tells it, and at the end what came out.
    """

    run: Run
    watcher: Callable[[], AbstractContextManager[Watcher]]
    report_progress: bool


def _ingest_unless_finished(
    settings: IngestSettings, name: str, destination: UPath, retry_failures: bool, means: _Means
) -> Manifest:
    existing = finished(settings, name, destination)
    if existing is not None and not (retry_failures and _can_retry(settings, destination)):
        return existing
    with Lease.acquire(destination, f"ingest {name}") as lease:
        return _ingest(settings, name, lease, means)


def _ingest(settings: IngestSettings, name: str, lease: Lease, means: _Means) -> Manifest:
    destination = lease.folder
    existing = finished(settings, name, destination)
    located, description = _harvested(settings, destination, means)
    check_not_empty(located.source)
    if existing is not None:
        if existing.source["snapshot"] == description["snapshot"]:
            return existing
        lease.check()
        (destination / MANIFEST_NAME).unlink()  # not finished until the shards are written again
    inputs = input_files(located)
    num_items = located.source.num_items()
    if num_items == 0:
        raise UserError(f"the source of {name} has no items: check source.path")
    num_shards = -(-num_items // settings.records_per_shard)
    reports: dict[int, ShardReport] = {}
    bar = tqdm(total=num_shards, desc=f"ingest {name}", disable=not means.report_progress)
    with bar, means.watcher() as watch:
        write = functools.partial(
            _write_shards, means.run, located, destination, content_hash(inputs)
        )
        for shard, report in write(dict.fromkeys(range(num_shards), ())):
            lease.check()
            reports[shard] = report
            bar.update()
            watch(_told(reports, num_shards))
        for shard, report in write(duplicates(reports)):
            lease.check()
            reports[shard] = report
        watch(_told(reports, num_shards))
    if means.report_progress:
        print(_summary(name, reports, located.source.remarks()))
    in_order = [reports[shard] for shard in range(num_shards)]
    lease.check()
    save_inputs(inputs, destination)
    told = report_labels(read_joins(located).labels, in_order, destination)
    lease.check()
    manifest = merge(
        name=name,
        source=description,
        settings_fingerprint=settings.fingerprint(),
        reports=in_order,
        destination=destination,
    )
    if means.report_progress and told:
        print("\n".join(told), flush=True)
    for directory in list(destination.glob(f"{_REPORTS_PREFIX}*")):
        directory.fs.rm(directory.path, recursive=True)
    if means.report_progress and manifest.num_failures:
        print(f"All reasons: {destination / FAILURES_NAME}")
    return manifest


def _can_retry(settings: IngestSettings, destination: UPath) -> bool:
    source = settings.source
    return isinstance(source, RemoteSource) and source.can_retry(destination)


def _harvested(
    settings: IngestSettings, destination: UPath, means: _Means
) -> tuple[IngestSettings, dict[str, Any]]:
    """Locate the source, harvest it if it is remote, and describe it for the manifest."""
    located = settings.located()
    description = settings.source.model_dump(mode="json")
    source = located.source
    if isinstance(source, RemoteSource):
        source = source.harvest(destination, means.run, means.report_progress)
        description["snapshot"] = UPath(str(source.snapshot)).name
    return located.model_copy(update={"source": source}), description


def _write_shards(
    run: Run,
    settings: IngestSettings,
    destination: UPath,
    inputs: str,
    excluded_ids: Mapping[int, tuple[str, ...]],
) -> Iterator[tuple[int, ShardReport]]:
    """Run one task per shard, by Ray or in turn."""
    calls = {
        shard: (settings, destination, shard, excluded, inputs)
        for shard, excluded in excluded_ids.items()
    }
    return run(write_slice, calls, again=write_guarded_slice)


def _told(reports: Mapping[int, ShardReport], num_shards: int) -> dict[str, float]:
    """Return numbers that say how far an ingest has got."""
    return {
        "ingested_records": sum(len(report.rows) for report in reports.values()),
        "refused_records": sum(len(report.failures) for report in reports.values()),
        "shards_left": num_shards - len(reports),
    }


def _summary(name: str, reports: Mapping[int, ShardReport], remarks: Sequence[str]) -> str:
    num_accepted = sum(len(report.rows) for report in reports.values())
    failures = [one for _, report in sorted(reports.items()) for one in report.failures]
    return summary(name, num_accepted, failures, remarks)


def write_slice(
    settings: IngestSettings,
    destination: UPath,
    shard: int,
    excluded_ids: tuple[str, ...],
    inputs: str = "",
    reading: Callable[..., AbstractContextManager[Iterator[Record | Failure]]] = usual_items,
) -> ShardReport:
    """Read, validate and write one shard unless it is there; this is the body of a Ray task.

    Args:
        settings: settings of the ingest, whose source is located.
        destination: folder of the data set.
        shard: number of the shard.
        excluded_ids: ids that an earlier shard holds.
        inputs: hash of the input files; a shard that was made from others is written again.
        reading: how the items are read, ``usual_items`` or ``guarded_items``.
    """
    shard_path = destination / shard_name(shard)
    reports = destination / f"{_REPORTS_PREFIX}{fingerprint([settings.fingerprint(), inputs])}"
    report_path = reports / f"{shard_path.stem}.json"
    kept = _kept_report(report_path, shard_path, excluded_ids)
    if kept is not None:
        return kept
    start = shard * settings.records_per_shard
    stop = start + settings.records_per_shard
    joins = remembered_joins(settings, inputs)
    with reading(settings.source, start, stop, settings.item_limits) as items:
        checker = Checker(joins.split, excluded_ids, settings.required)
        records = checker.accepted(joins.joined(items))
        if settings.missing_text is not None:
            records = describe_missing(records, settings.missing_text, checker.failures)
        written = write_shard(shard_path, records)
    report = ShardReport(
        excluded_ids=excluded_ids,
        entry=written.entry,
        rows=tuple(row | checker.columns[row["material_id"]] for row in written.rows),
        failures=(*checker.failures, *written.rejected),
        licences=checker.provenance_values("licence"),
        database_versions=checker.provenance_values("database_version"),
        **checker.counts(row["material_id"] for row in written.rows),
    )
    write_checked_json(report_path, report.model_dump(mode="json"))
    return report


def _kept_report(path: UPath, shard: UPath, excluded_ids: tuple[str, ...]) -> ShardReport | None:
    """Give the report of a shard if both are there as they were written; else it is made again."""
    again = f"{shard.name} is made again"
    try:
        report = ShardReport.model_validate(read_checked_json(path, again))
        if report.excluded_ids != excluded_ids:
            return None
        sha256 = patiently(lambda: sha256_of(shard), shard)
    except FileNotFoundError:
        return None
    except ValidationError as error:
        print(f"{path} is damaged ({first_mistake(error)}): {again}", flush=True)
        return None
    except UserError as error:
        print(error, flush=True)
        return None
    if sha256 != report.entry.sha256:
        print(f"{shard} was changed after it was written: it is made again", flush=True)
        return None
    return report


def write_guarded_slice(
    settings: IngestSettings,
    destination: UPath,
    shard: int,
    excluded_ids: tuple[str, ...],
    inputs: str,
) -> ShardReport:
    """Write a shard whose first try failed; an item that crashes its reader costs only itself."""
    return write_slice(settings, destination, shard, excluded_ids, inputs, guarded_items)
