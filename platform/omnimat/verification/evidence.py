"""What checks read: every file is read, and every data set proven, once for all rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.files import read_file
from omnimat.base.filesystem import location
from omnimat.base.provenance import sha256_of
from omnimat.base.workspace import Workspace
from omnimat.leaderboard.row import Row
from omnimat.materials.split import Split
from omnimat.verification.dataset import CheckedDataset, check_dataset
from omnimat.verification.outcome import UnreachableError

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

    def __init__(self, workspace: Workspace) -> None:
        """Open a workspace, where the data sets are of rows that do not say where theirs lies."""
        self._workspace = workspace
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
        """Prove the data set of a row.

        Raises:
            UnreachableError: if it is not there.
        """
        if row.dataset_uri:
            directory = location_of(row.dataset_uri, "dataset_uri")
        else:
            directory = self._workspace.dataset(row.dataset)
        return self.remembered(("dataset", str(directory)), lambda: check_dataset(directory))

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
        return self.remembered(("sha256", uri), lambda: _hashed(location_of(uri, key)))

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
        path = location_of(uri, key)
        try:
            return read_file(path)
        except (OSError, UserError, RunError) as error:
            raise UnreachableError(f"{path} cannot be read: {error}") from error


def location_of(uri: str, key: str) -> UPath:
    """Make a path of what a row names.

    Args:
        uri: what the row has.
        key: the field of the row that has it.

    Raises:
        UnreachableError: if no filesystem is known for it.
    """
    try:
        return location(uri, key)
    except UserError as error:
        raise UnreachableError(str(error)) from error


def _hashed(path: UPath) -> str:
    try:
        return sha256_of(path)
    except (OSError, UserError, RunError) as error:
        raise UnreachableError(f"{path} cannot be read: {error}") from error


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
