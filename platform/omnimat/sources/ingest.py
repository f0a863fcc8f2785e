"""Turn a source into shards: one Ray task a shard, resumable, the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import ray
from pydantic import Field
from ray.exceptions import RayTaskError
from tqdm import tqdm
from upath import UPath

from omnimat.materials.errors import UserError
from omnimat.materials.settings import Settings, fingerprint
from omnimat.materials.split import SplitSettings
from omnimat.shards.files import write_atomically
from omnimat.shards.manifest import MANIFEST_NAME, Manifest, shard_name
from omnimat.shards.writer import write_shard
from omnimat.sources.checker import Checker
from omnimat.sources.cifs import Cifs
from omnimat.sources.describe import Robocrystallographer, describe_missing
from omnimat.sources.merge import ShardReport, duplicates, merge
from omnimat.sources.mp20 import Mp20
from omnimat.sources.parquet import Parquet
from omnimat.sources.prototypes import Prototypes

_REPORTS_PREFIX = ".reports-"
_MAX_RETRIES = 3
_TASKS_IN_FLIGHT_PER_SLOT = 2

AnySource = Annotated[Prototypes | Mp20 | Parquet | Cifs, Field(discriminator="type")]


class IngestSettings(Settings):
    """What to ingest and how.

    Attributes:
        source: where the records come from.
        records_per_shard: items of the source in each shard; keep a shard below about 64 MB.
        split: fractions of the hashed split.
        missing_text: what describes the structures that come without text; None leaves them so.
        num_cpus_per_task: what each task asks Ray for; it does not change the result.
    """

    source: AnySource = Prototypes()
    records_per_shard: int = Field(256, ge=1)
    split: SplitSettings = SplitSettings()
    missing_text: Robocrystallographer | None = None
    num_cpus_per_task: float = Field(1.0, gt=0)

    def fingerprint(self) -> str:
        """Hash what decides the result."""
        values = self.model_dump(mode="json", exclude={"num_cpus_per_task"})
        if self.missing_text is None:  # as before there was this key: data sets stay valid
            del values["missing_text"]
        return fingerprint(values)

    def located(self) -> Self:
        """Give the same settings with absolute paths."""
        return self.model_copy(update={"source": self.source.located()})


def ingest(
    settings: IngestSettings, name: str, destination: UPath, report_progress: bool = True
) -> Manifest:
    """Write the data set ``name`` under ``destination`` and give its manifest.

    Killed anywhere and run again, it goes on and ends with the same bytes. A finished data set of
    the same settings is returned as it is.

    Raises:
        UserError: a path of the source is missing, or other settings were ingested here before.
    """
    existing = finished(settings, name, destination)
    if existing is not None:
        return existing
    located = settings.located()
    num_items = located.source.num_items()
    if num_items == 0:
        raise UserError(f"the source of {name} has no items: check source.path")
    num_shards = -(-num_items // settings.records_per_shard)
    progress = tqdm(total=num_shards, desc=f"ingest {name}", disable=not report_progress)
    with progress:
        reports = _write_shards(
            located, destination, dict.fromkeys(range(num_shards), ()), progress
        )
    if again := duplicates(reports):
        reports |= _write_shards(located, destination, again, None)
    manifest = merge(
        name=name,
        source=settings.source.model_dump(mode="json"),
        settings_fingerprint=settings.fingerprint(),
        reports=[reports[shard] for shard in range(num_shards)],
        destination=destination,
    )
    for directory in list(destination.glob(f"{_REPORTS_PREFIX}*")):
        directory.fs.rm(directory.path, recursive=True)
    return manifest


def finished(settings: IngestSettings, name: str, destination: UPath) -> Manifest | None:
    """Give the manifest of a data set that is there already.

    Raises:
        UserError: it was made under other settings.
    """
    if not (destination / MANIFEST_NAME).exists():
        return None
    manifest = Manifest.load(destination)
    if manifest.settings_fingerprint != settings.fingerprint():
        raise UserError(
            f"{destination} holds the data set {name} of other settings: "
            "choose another name or delete it"
        )
    return manifest


def _write_shards(
    settings: IngestSettings,
    destination: UPath,
    excluded_ids: Mapping[int, Sequence[str]],
    progress: tqdm[Any] | None,
) -> dict[int, ShardReport]:
    """Run one task a shard, a bounded number at a time."""
    slots = ray.cluster_resources().get("CPU", 1.0) / settings.num_cpus_per_task
    limit = max(1, int(slots)) * _TASKS_IN_FLIGHT_PER_SLOT
    task = ray.remote(write_slice).options(
        num_cpus=settings.num_cpus_per_task, max_retries=_MAX_RETRIES, retry_exceptions=[OSError]
    )
    waiting = list(excluded_ids.items())[::-1]
    running: dict[ray.ObjectRef, int] = {}
    reports: dict[int, ShardReport] = {}
    while waiting or running:
        while waiting and len(running) < limit:
            shard, excluded = waiting.pop()
            running[task.remote(settings, destination, shard, tuple(excluded))] = shard
        done, _ = ray.wait(list(running), num_returns=1)
        reports[running.pop(done[0])] = _result(done[0])
        if progress is not None:
            progress.update()
    return reports


def _result(reference: ray.ObjectRef) -> ShardReport:
    try:
        report: ShardReport = ray.get(reference)
    except RayTaskError as error:
        raise error.as_instanceof_cause() from None
    return report


def write_slice(
    settings: IngestSettings, destination: UPath, shard: int, excluded_ids: tuple[str, ...]
) -> ShardReport:
    """Read, validate and write one shard, unless that is done; the body of a Ray task."""
    shard_path = destination / shard_name(shard)
    report_path = _reports_directory(settings, destination) / f"{shard_path.stem}.json"
    if report_path.exists():
        report = ShardReport.model_validate_json(report_path.read_text())
        is_whole = shard_path.exists() and shard_path.stat().st_size == report.entry.size_bytes
        if is_whole and report.excluded_ids == excluded_ids:
            return report
    start = shard * settings.records_per_shard
    items = settings.source.read(start, start + settings.records_per_shard)
    checker = Checker(settings.split, excluded_ids)
    records = checker.accepted(items)
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
    )
    write_atomically(report_path, report.model_dump_json().encode())
    return report


def _reports_directory(settings: IngestSettings, destination: UPath) -> UPath:
    return destination / f"{_REPORTS_PREFIX}{settings.fingerprint()}"
