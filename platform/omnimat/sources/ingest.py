"""Turns a source into shards with one Ray task per shard; it can be resumed and is reproducible."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray
from ray.exceptions import RayTaskError
from tqdm import tqdm
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.settings import fingerprint, identity
from omnimat.cluster.metrics import RayMetrics
from omnimat.shards.manifest import MANIFEST_NAME, Manifest, shard_name
from omnimat.shards.writer import write_shard
from omnimat.sources.base import Key, RemoteSource, T
from omnimat.sources.checker import Checker
from omnimat.sources.describe import describe_missing
from omnimat.sources.inputs import check_inputs, content_hash, input_files, save_inputs
from omnimat.sources.joins import read_joins, remembered_joins
from omnimat.sources.label_report import report_labels
from omnimat.sources.merge import ShardReport, duplicates, merge
from omnimat.sources.settings import IngestSettings

_REPORTS_PREFIX = ".reports-"
_MAX_RETRIES = 3
_TASKS_IN_FLIGHT_PER_SLOT = 2


def ingest(
    settings: IngestSettings,
    name: str,
    destination: UPath,
    report_progress: bool = True,
    retry_failures: bool = True,
) -> Manifest:
    """Write the data set ``name`` to ``destination`` and return its manifest.

    If it is killed at any point and run again, it continues and ends with the same bytes. A
    finished data set of the same settings is returned as it is. Only items that a remote source
    could not provide are tried again, and if it still cannot, no byte changes.

    Args:
        settings: settings of the ingest.
        name: name of the data set.
        destination: folder of the data set.
        report_progress: whether progress bars are shown.
        retry_failures: whether failures of a finished data set are tried again, which is not wanted
            where other jobs merely need it.

    Raises:
        UserError: a path of the source is missing, or other settings or other input files were
            ingested here before.
        RunError: a remote source does not answer.
    """
    existing = finished(settings, name, destination)
    if existing is not None and not (retry_failures and _can_retry(settings, destination)):
        return existing
    located, description = _harvested(settings, destination, report_progress)
    if existing is not None:
        if existing.source["snapshot"] == description["snapshot"]:
            return existing
        (destination / MANIFEST_NAME).unlink()  # not finished until the shards are written again
    inputs = input_files(located)
    num_items = located.source.num_items()
    if num_items == 0:
        raise UserError(f"the source of {name} has no items: check source.path")
    num_shards = -(-num_items // settings.records_per_shard)
    reports: dict[int, ShardReport] = {}
    bar = tqdm(total=num_shards, desc=f"ingest {name}", disable=not report_progress)
    with bar, RayMetrics(name) as watch:
        write = functools.partial(_write_shards, located, destination, content_hash(inputs))
        for shard, report in write(dict.fromkeys(range(num_shards), ())):
            reports[shard] = report
            bar.update()
            watch(_told(reports, num_shards))
        reports |= dict(write(duplicates(reports)))
        watch(_told(reports, num_shards))
    save_inputs(inputs, destination)
    in_order = [reports[shard] for shard in range(num_shards)]
    told = report_labels(read_joins(located).labels, in_order, destination)
    manifest = merge(
        name=name,
        source=description,
        settings_fingerprint=settings.fingerprint(),
        reports=in_order,
        destination=destination,
    )
    if report_progress and told:
        print("\n".join(told), flush=True)
    for directory in list(destination.glob(f"{_REPORTS_PREFIX}*")):
        directory.fs.rm(directory.path, recursive=True)
    return manifest


def _can_retry(settings: IngestSettings, destination: UPath) -> bool:
    source = settings.source
    return isinstance(source, RemoteSource) and source.can_retry(destination)


def _harvested(
    settings: IngestSettings, destination: UPath, report_progress: bool
) -> tuple[IngestSettings, dict[str, Any]]:
    """Locate the source, harvest it if it is remote, and describe it for the manifest."""
    located = settings.located()
    description = settings.source.model_dump(mode="json")
    source = located.source
    if isinstance(source, RemoteSource):
        run = functools.partial(_in_parallel, settings.num_cpus_per_task)
        source = source.harvest(destination, run, report_progress)
        description["snapshot"] = UPath(str(source.snapshot)).name
    return located.model_copy(update={"source": source}), description


def finished(settings: IngestSettings, name: str, destination: UPath) -> Manifest | None:
    """Return the manifest of a data set if it is finished.

    Raises:
        UserError: the data set was made with other settings or from other input files.
    """
    if not (destination / MANIFEST_NAME).exists():
        return None
    manifest = Manifest.load(destination)
    same = {settings.fingerprint(), _as_of_0_1_0(settings, manifest)}
    if manifest.settings_fingerprint not in same:
        raise UserError(
            f"{destination} holds the data set {name}, which was made with other settings: "
            "choose another name or delete it"
        )
    check_inputs(settings, destination)
    return manifest


def _as_of_0_1_0(settings: IngestSettings, manifest: Manifest) -> str | None:
    """Hash settings as omnimat 0.1.0 did, with defaults; None if it did not have such settings.

    Data sets of that version took hours to ingest, so they stay valid.
    """
    keys, told = {"records_per_shard", "split", "missing_text"}, identity(settings)
    parts = [told, *(told[key] for key in ("source", "split", "missing_text") if key in told)]
    is_new = not told.keys() <= {"source", *keys} or any("revision" in part for part in parts)
    if is_new or not identity(settings.source).keys() <= manifest.source.keys():
        return None
    values = settings.model_dump(mode="json", include=keys)
    if settings.missing_text is None:
        del values["missing_text"]
    source = settings.source.model_dump(mode="json", exclude={"access"})
    kept = {key: value for key, value in source.items() if key in manifest.source}
    return fingerprint({**values, "source": kept})


def _write_shards(
    settings: IngestSettings,
    destination: UPath,
    inputs: str,
    excluded_ids: Mapping[int, tuple[str, ...]],
) -> Iterator[tuple[int, ShardReport]]:
    """Run one task per shard."""
    calls = {
        shard: (settings, destination, shard, excluded, inputs)
        for shard, excluded in excluded_ids.items()
    }
    return _in_parallel(settings.num_cpus_per_task, write_slice, calls)


def _told(reports: Mapping[int, ShardReport], num_shards: int) -> dict[str, float]:
    """Return numbers that say how far an ingest has got."""
    return {
        "ingested_records": sum(len(report.rows) for report in reports.values()),
        "refused_records": sum(len(report.failures) for report in reports.values()),
        "shards_left": num_shards - len(reports),
    }


def _in_parallel(
    num_cpus: float, function: Callable[..., T], calls: Mapping[Key, tuple[Any, ...]]
) -> Iterator[tuple[Key, T]]:
    """Run one Ray task per call, only so many at a time, and yield the results as they arrive."""
    slots = ray.cluster_resources().get("CPU", 1.0) / num_cpus
    limit = max(1, int(slots)) * _TASKS_IN_FLIGHT_PER_SLOT
    task = ray.remote(function).options(
        num_cpus=num_cpus, max_retries=_MAX_RETRIES, retry_exceptions=[OSError]
    )
    waiting = list(calls.items())[::-1]
    running: dict[ray.ObjectRef, Key] = {}
    while waiting or running:
        while waiting and len(running) < limit:
            key, arguments = waiting.pop()
            running[task.remote(*arguments)] = key
        done, _ = ray.wait(list(running), num_returns=1)
        yield running.pop(done[0]), _result(done[0])


def _result(reference: ray.ObjectRef) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.as_instanceof_cause() from None


def write_slice(
    settings: IngestSettings,
    destination: UPath,
    shard: int,
    excluded_ids: tuple[str, ...],
    inputs: str = "",
) -> ShardReport:
    """Read, validate and write one shard unless it is there; this is the body of a Ray task.

    Args:
        settings: settings of the ingest, whose source is located.
        destination: folder of the data set.
        shard: number of the shard.
        excluded_ids: ids that an earlier shard holds.
        inputs: hash of the input files; a shard that was made from others is written again.
    """
    shard_path = destination / shard_name(shard)
    reports = destination / f"{_REPORTS_PREFIX}{fingerprint([settings.fingerprint(), inputs])}"
    report_path = reports / f"{shard_path.stem}.json"
    if report_path.exists():
        report = ShardReport.model_validate_json(report_path.read_text())
        is_whole = shard_path.exists() and shard_path.stat().st_size == report.entry.size_bytes
        if is_whole and report.excluded_ids == excluded_ids:
            return report
    start = shard * settings.records_per_shard
    items = settings.source.read(start, start + settings.records_per_shard)
    joins = remembered_joins(settings, inputs)
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
    write_atomically(report_path, report.model_dump_json().encode())
    return report
