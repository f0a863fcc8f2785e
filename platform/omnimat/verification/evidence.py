"""What checks read: every file is read, and every data set proven, once for all rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from upath import UPath

from omnimat.base.confined import Confined
from omnimat.base.workspace import DATASETS
from omnimat.leaderboard.row import Row
from omnimat.materials.split import Split
from omnimat.verification.dataset import CheckedDataset, check_dataset
from omnimat.verification.outcome import reached

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Predictions:
    """A file of predictions or embeddings.

    Attributes:
        data: its content.
        sha256: the hash of this very content.
    """

    data: bytes
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Predictions:
        """Hash what was read from a file."""
        return cls(data, hashlib.sha256(data).hexdigest())


class Evidence:
    """The files and data sets that rows point to."""

    def __init__(self, storage: Confined) -> None:
        """Read from a storage, and from nowhere else."""
        self._storage = storage
        self._remembered: dict[Hashable, Any] = {}
        self._latest: dict[str, dict[Hashable, Any]] = {}

    def remembered(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Make something once and keep it; so a check that many rows share is made once."""
        return _made_once(self._remembered, key, make)

    def latest(self, kind: str, key: Hashable, make: Callable[[], _T]) -> _T:
        """Make something large once for all rows that ask for it one after another.

        Args:
            kind: what kind of thing it is; the last thing of each kind is kept.
            key: tells it from others of its kind.
            make: makes it.
        """
        if key not in self._latest.get(kind, {}):
            self._latest[kind] = {}
        return _made_once(self._latest[kind], key, make)

    def dataset(self, row: Row) -> CheckedDataset:
        """Prove the data set of a row, which is that of its name if the row does not locate it.

        Raises:
            UnreachableError: if it is not there.
        """
        name = row.dataset_uri or f"{DATASETS}/{row.dataset}"
        place = self.place(name, "dataset_uri")
        return self.remembered(("dataset", place), lambda: check_dataset(self._storage, name))

    def properties(self, dataset: CheckedDataset, split: Split | None) -> dict[str, str]:
        """Read the properties of a split's materials, or of all (None), as JSON by material id.

        Raises:
            UnreachableError: if a record cannot be read.
        """
        key = ("properties", str(dataset.directory), split)
        return self.remembered(key, lambda: dataset.properties(split))

    def sha256(self, uri: str, key: str) -> str:
        """Hash a file or a folder as ``base.provenance.sha256_of`` does.

        Args:
            uri: where it lies.
            key: the field of the row that names it.

        Raises:
            UnreachableError: if it is not there or may not be read.
        """
        place = self.place(uri, key)
        return self.remembered(
            ("sha256", place), lambda: reached(uri, lambda: self._storage.sha256(uri, key))
        )

    def place(self, uri: str, key: str) -> str:
        """Give the place of a file or folder, which is the same however a row spells it.

        Args:
            uri: where it lies.
            key: the field of the row that names it.

        Raises:
            UnreachableError: if it may not be read.
        """
        return reached(uri, lambda: str(self._storage.path(uri, key)))

    def folder(self, uri: str, key: str) -> UPath:
        """Find a folder, all files of which lie in the storage.

        Args:
            uri: where it lies.
            key: the field of the row that names it.

        Raises:
            UnreachableError: if it is not there or may not be read.
        """
        self.sha256(uri, key)
        return reached(uri, lambda: self._storage.folder(uri, key))

    def predictions(self, row: Row) -> Predictions:
        """Read a row's predictions, once for all rows that share them and follow each other.

        Raises:
            UnreachableError: if they are not there or may not be read.
        """
        uri = row.predictions_uri
        return self.latest(
            "predictions", uri, lambda: Predictions.of(self.data(uri, "predictions_uri"))
        )

    def data(self, uri: str, key: str) -> bytes:
        """Read a file.

        Args:
            uri: where it lies.
            key: the field of the row that names it.

        Raises:
            UnreachableError: if it is not there or may not be read.
        """
        return reached(uri, lambda: self._storage.read(uri, key))


def _made_once(kept: dict[Hashable, Any], key: Hashable, make: Callable[[], _T]) -> _T:
    if key not in kept:
        try:
            kept[key] = make()
        except Exception as error:
            kept[key] = error  # so that the next row need not wait for the same
            raise
    found: _T | Exception = kept[key]
    if isinstance(found, Exception):
        raise found
    return found
