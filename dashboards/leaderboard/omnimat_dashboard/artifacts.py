"""What runs and data sets left in the storage, any of which may be gone by now.

Rows say where their files lie, and rows may come from anybody who has the token. A run or a data
set that was copied from elsewhere may hold links. So all files are read through ``base.confined``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from omnimat.base.confined import Confined, beside
from omnimat.base.errors import RunError, UserError
from omnimat.base.files import parquet_frame
from omnimat.base.workspace import DATASETS, RUNS, TRIAL, Workspace, attempt_of
from omnimat.leaderboard.predictions import read_predictions
from omnimat.leaderboard.row import Row
from omnimat.modalities.storage import decode_npy, unpack_npz
from omnimat.shards.manifest import (
    FAILURES_NAME,
    MANIFEST_NAME,
    RECORDS_NAME,
    Manifest,
    shard_name,
)
from omnimat.shards.reader import RawRecord, read_records
from omnimat_dashboard.run_files import (
    MAX_FILE_BYTES,
    MAX_JSON_BYTES,
    MAX_TABLE_BYTES,
    RunFiles,
    ask,
    folders_in,
)

T = TypeVar("T")

MAPS = "maps"
DATASET_FILES = (MANIFEST_NAME, RECORDS_NAME, FAILURES_NAME)
_MAX_SHARD_BYTES = 1 << 50  # only a few records of it are read
PREDICTION_COLUMNS = frozenset({"material_id", "target", "prediction"})

# A file of another version or of other software may hold anything.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    RecursionError,
    pa.ArrowException,
    UserError,
    RunError,
)


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """An artifact, or why there is none.

    Attributes:
        value: the artifact; None if it cannot be had.
        reason: why it cannot be had; empty if it can.
    """

    value: T | None
    reason: str = ""


_NO_FILE: Found[Any] = Found(None, "the row names no file")


class Artifacts:
    """The files of one storage.

    Listing raises ``RunError`` if the storage is out of reach; reading gives the reason instead.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Read from a storage, which may be empty."""
        self._workspace = workspace
        self.storage = workspace.files
        self._index_lock = Lock()
        self._indices: dict[str, pd.DataFrame] = {}

    def datasets(self) -> list[str]:
        """Name the finished data sets."""
        return sorted(self._folders(DATASETS, MANIFEST_NAME))

    def runs(self) -> dict[str, RunFiles]:
        """Give the newest attempt of every run by the run's name, from one listing."""
        folders = folders_in(self._workspace.root / RUNS)
        found = sorted((*attempt, folder) for folder in folders if (attempt := attempt_of(folder)))
        newest = {name: folder for name, _, folder in found}
        return {name: RunFiles(self.storage, f"{RUNS}/{one}") for name, one in newest.items()}

    def run(self, name: str) -> RunFiles:
        """Give the files of a run.

        Raises:
            FileNotFoundError: there is no run of this name.
        """
        if (files := self.runs().get(name)) is None:
            raise FileNotFoundError(name)
        return files

    def runs_with_maps(self) -> list[str]:
        """Name the runs whose newest attempt has a folder of embedding maps."""
        folders = self._folders(RUNS, MAPS)
        return [name for name, files in self.runs().items() if files.attempt in folders]

    def maps(self, run: str) -> list[str]:
        """Name a run's maps, ``<modality>-<method>``; none for an unknown run."""
        if (files := self.runs().get(run)) is None:
            return []
        folder = self._workspace.root / files.name / MAPS
        return ask(lambda: sorted(file.stem for file in folder.glob("*.parquet")), folder)

    def map(self, run: str, name: str) -> Found[pd.DataFrame]:
        """Read a map of ``maps(run)``."""
        return attempt(lambda: self.run(run).table(MAPS, f"{name}.parquet"))

    def map_summary(self, run: str, name: str) -> dict[str, Any]:
        """Read the summary of a map; empty if there is none."""
        found = attempt(lambda: json.loads(self.run(run).read(MAPS, "summary.json"))).value
        entries = found if isinstance(found, list) else []
        of_map = (e for e in entries if isinstance(e, dict) and e.get("file") == f"{name}.parquet")
        return next(of_map, {})

    def manifest(self, dataset: str) -> Found[Manifest]:
        """Read the manifest of a data set of ``datasets()``."""
        folder = self._workspace.dataset(dataset)
        return attempt(
            lambda: Manifest.parsed(self._read(dataset, MANIFEST_NAME, MAX_JSON_BYTES), folder)
        )

    def records(self, dataset: str, manifest: Manifest) -> Found[pd.DataFrame]:
        """Read the index of a data set's records."""
        path = self._workspace.dataset(dataset) / RECORDS_NAME
        return attempt(lambda: manifest.parsed_records(self._read(dataset, RECORDS_NAME), path))

    def index(self, dataset: str, fingerprint: str) -> Found[pd.DataFrame]:
        """Read the index of the data set of a row, if it is the one in this storage."""
        found = self.manifest(dataset) if dataset in self.datasets() else _NO_FILE
        if found.value is None:
            return Found(None, f"data set {dataset} is not in this storage")
        if found.value.dataset_fingerprint != fingerprint:
            return Found(None, f"data set {dataset} in this storage is another version")
        key = found.value.records_sha256
        with self._index_lock:
            if key not in self._indices:
                read = self.records(dataset, found.value)
                if read.value is None:
                    return read
                self._indices = {key: read.value}  # of one data set, since they are large
            return Found(self._indices[key])

    def raw_records(self, dataset: str, rows: pd.DataFrame) -> list[RawRecord]:
        """Read records of a data set, some rows of its index, from shards of this storage.

        Whoever calls it asks for it by ``attempt``.
        """
        names = [f"{DATASETS}/{dataset}/{shard_name(int(one))}" for one in set(rows["shard"])]
        shards = [self.storage.file(name, "dataset", _MAX_SHARD_BYTES) for name in names]
        return read_records(shards[0].parent, rows) if shards else []

    def failures(self, dataset: str) -> Found[pd.DataFrame]:
        """Read what a data set's ingest refused: ``material_id`` and ``reason``."""
        return attempt(lambda: _failures(self._read(dataset, FAILURES_NAME, MAX_JSON_BYTES)))

    def dataset_file(self, dataset: str, name: str) -> Found[bytes]:
        """Read one of ``DATASET_FILES``."""
        return attempt(lambda: self._read(dataset, name))

    def trial(self, row: Row) -> Found[dict[str, Any]]:
        """Read the record of the trial whose checkpoint a row names."""
        if not row.checkpoint_uri:
            return _NO_FILE
        name = beside(row.checkpoint_uri, TRIAL)
        return attempt(
            lambda: _json(name, self.storage.read(name, "checkpoint_uri", MAX_JSON_BYTES))
        )

    def history(self, run: str) -> Found[pd.DataFrame]:
        """Read the history of a pretraining run that has ended."""
        return attempt(lambda: self.run(run).final_history())

    def predictions(self, row: Row) -> Found[pd.DataFrame]:
        """Read a row's predictions for each material, if it keeps such predictions."""
        if not row.predictions_uri:
            return _NO_FILE
        if not row.predictions_uri.endswith(".parquet"):
            return Found(None, f"{_name(row.predictions_uri)} holds no predictions to plot")
        return attempt(lambda: _predictions(row, self.storage))

    def embeddings(self, row: Row, names: Collection[str]) -> Found[dict[str, NDArray[Any]]]:
        """Read some arrays of the embeddings that a row's value follows from, if they are there.

        Args:
            row: the row.
            names: names of arrays, as ``evaluation.stored`` explains them.
        """
        if not row.predictions_uri.endswith(".npz"):
            return Found(None, "the row names no embeddings")
        return attempt(lambda: _arrays(row, self.storage, names))

    def _read(self, dataset: str, name: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        return self.storage.read(f"{DATASETS}/{dataset}/{name}", "dataset", max_bytes)

    def _folders(self, kind: str, needed: str) -> set[str]:
        """Name the folders that have a file or folder of this name."""
        root = self._workspace.root / kind
        return ask(lambda: {path.parent.name for path in root.glob(f"*/{needed}")}, root)


def attempt(read: Callable[[], T]) -> Found[T]:
    """Read something, or say in a few words why it cannot be read."""
    try:
        return Found(read())
    except FileNotFoundError as error:
        return Found(None, f"{_name(str(error.filename or error))} is not in this storage")
    except _UNREADABLE as error:
        return Found(None, f"it cannot be read: {error}")


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _json(name: str, data: bytes) -> dict[str, Any]:
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError(f"{_name(name)} holds no object")
    return content


def _predictions(row: Row, storage: Confined) -> pd.DataFrame:
    table = parquet_frame(read_predictions(row, storage, MAX_FILE_BYTES), MAX_TABLE_BYTES)
    if missing := PREDICTION_COLUMNS - set(table.columns):
        raise ValueError(f"{_name(row.predictions_uri)} lacks {', '.join(sorted(missing))}")
    return table


def _arrays(row: Row, storage: Confined, names: Collection[str]) -> dict[str, NDArray[Any]]:
    packed = unpack_npz(read_predictions(row, storage, MAX_FILE_BYTES), names)
    return {name: decode_npy(content, "biufU") for name, content in packed.items()}


def _failures(data: bytes) -> pd.DataFrame:
    lines = [json.loads(line) for line in data.splitlines() if line.strip()]
    return pd.DataFrame(lines, columns=["material_id", "reason"])
