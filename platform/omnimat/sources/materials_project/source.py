"""The Materials Project as a source of records."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import ClassVar, Literal, Self

import pyarrow.parquet as pq
from pydantic import model_validator
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.materials.record import Failure, Record
from omnimat.sources.base import Run, absolute_path
from omnimat.sources.materials_project.documents import to_record
from omnimat.sources.materials_project.harvest import Harvest
from omnimat.sources.materials_project.rest import API_KEY_VARIABLE, api_key
from omnimat.sources.materials_project.settings import Request
from omnimat.sources.materials_project.snapshot import Snapshot, read_index


class MaterialsProject(Request):
    """Records of the Materials Project: structures, properties and more modalities.

    The key is read from ``MP_API_KEY``, and other endpoints from ``MP_API_ENDPOINT`` and
    ``AWS_ENDPOINT_URL_S3``. Everything is first harvested into a snapshot beside the shards. A
    harvest goes on where it was stopped; what could not be had is listed, and tried again when the
    same job is run again. Without filters, whole collections are read from the public Delta tables.
    The snapshot, ``.snapshot-*``, may be deleted once the data set is finished; then nothing is
    tried again.

    Attributes:
        snapshot: the index file of an earlier harvest, which is then read while nothing is fetched.
            No other key goes with it.
    """

    of_the_machine: ClassVar[frozenset[str]] = frozenset({"access"})

    type: Literal["materials_project"] = "materials_project"
    snapshot: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.snapshot is not None and self.model_fields_set - {"type", "snapshot"}:
            raise ValueError("a snapshot is as it was harvested: remove the other keys or it")
        return self

    def located(self) -> Self:
        """Make the path of ``snapshot`` absolute; without a snapshot there must be a key.

        Raises:
            UserError: there is no key, or no such file.
        """
        if self.snapshot is None:
            api_key()
            return self
        return self.model_copy(update={"snapshot": absolute_path(self.snapshot, "source.snapshot")})

    def can_retry(self, directory: UPath) -> bool:
        """Say whether something could not be had before, and there is a key to ask again."""
        if self.snapshot is not None:
            return False
        num_failures = Snapshot(self._harvest_directory(directory)).num_failures()
        has_key = bool(os.environ.get(API_KEY_VARIABLE))
        if num_failures and not has_key:
            print(f"what failed before ({num_failures}) is not tried: no {API_KEY_VARIABLE}")
        return bool(num_failures) and has_key

    def harvest(self, directory: UPath, run: Run, report_progress: bool) -> Self:
        """Fetch what is not there yet, and give the snapshot as the source.

        Raises:
            UserError: there is no key, the key is refused, or nothing meets the filters.
            RunError: the Materials Project does not answer.
        """
        if self.snapshot is not None:
            return self
        index = Harvest(self, self._harvest_directory(directory), run, report_progress).run()
        return type(self)(snapshot=str(index))

    def inputs(self) -> dict[str, UPath]:
        """None that could change: a snapshot with another content has another name."""
        return {}

    def num_items(self) -> int:
        """Count the materials of the harvest."""
        with self._index().open("rb") as file:
            return int(pq.ParquetFile(file).metadata.num_rows)

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Read a slice of the harvest; after a record come the reasons for what it lacks."""
        for material_id, documents, reasons in read_index(self._index(), start, stop):
            if "summary" not in documents:
                reason = reasons.get("summary", "the Materials Project lists it and has none")
                yield Failure(material_id, f"summary: {reason}")
                continue
            try:
                record, misfits = to_record(material_id, documents)
            except (ValueError, KeyError, TypeError) as error:
                yield Failure(material_id, f"summary: {type(error).__name__}: {error}")
                continue
            yield record
            for reason in (*(f"{name}: {why}" for name, why in reasons.items()), *misfits):
                yield Failure(material_id, reason)

    def _harvest_directory(self, directory: UPath) -> UPath:
        return directory / f".snapshot-{self.fingerprint()}"

    def _index(self) -> UPath:
        if self.snapshot is None:
            raise UserError("source: nothing is harvested yet; ingest the data set")
        return UPath(self.snapshot)
