"""Where checks get files from; each file is read, and each data set proven, once for all rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from upath import UPath

from omnimat.leaderboard.row import Row
from omnimat.materials.errors import RunError, UserError
from omnimat.materials.filesystem import location
from omnimat.materials.provenance import sha256_of
from omnimat.materials.split import Split
from omnimat.materials.workspace import Workspace
from omnimat.shards.files import read_file
from omnimat.verification.dataset import CheckedDataset, check_dataset
from omnimat.verification.outcome import UnreachableError

_T = TypeVar("_T")


class Evidence:
    """Files and data sets that rows point to."""

    def __init__(self, workspace: Workspace) -> None:
        """Look for data sets of rows that do not say where theirs lies in this workspace."""
        self._workspace = workspace
        self._remembered: dict[Hashable, Any] = {}

    def remembered(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Make something once; a check that many rows share keeps its results here."""
        if key not in self._remembered:
            try:
                self._remembered[key] = make()
            except UnreachableError as error:
                self._remembered[key] = error
        found: _T | UnreachableError = self._remembered[key]
        if isinstance(found, UnreachableError):
            raise found
        return found

    def dataset(self, row: Row) -> CheckedDataset:
        """Prove the data set of a row.

        Raises:
            UnreachableError: it is not there.
        """
        if row.dataset_uri:
            directory = _location(row.dataset_uri, "dataset_uri")
        else:
            directory = self._workspace.dataset(row.dataset)
        return self.remembered(("dataset", str(directory)), lambda: check_dataset(directory))

    def properties(self, dataset: CheckedDataset, split: Split) -> dict[str, str]:
        """Read the properties of a split's materials, JSON by material id.

        Raises:
            UnreachableError: a record cannot be read.
        """
        key = ("properties", str(dataset.directory), split)
        return self.remembered(key, lambda: dataset.properties(split))

    def sha256(self, uri: str, key: str) -> str:
        """Hash a file, or a folder as ``materials.provenance.sha256_of`` does.

        Args:
            uri: of it.
            key: field of the row that names it.

        Raises:
            UnreachableError: it is not there or may not be read.
        """
        return self.remembered(("sha256", uri), lambda: _hashed(_location(uri, key)))

    def data(self, uri: str, key: str) -> bytes:
        """Read a file, and keep its hash for ``sha256``.

        Raises:
            UnreachableError: it is not there or may not be read.
        """
        path = _location(uri, key)
        try:
            data = read_file(path)
        except (OSError, UserError, RunError) as error:
            raise UnreachableError(f"{path} cannot be read: {error}") from error
        self.remembered(("sha256", uri), lambda: hashlib.sha256(data).hexdigest())
        return data


def _location(uri: str, key: str) -> UPath:
    try:
        return location(uri, key)
    except UserError as error:
        raise UnreachableError(str(error)) from error


def _hashed(path: UPath) -> str:
    try:
        return sha256_of(path)
    except (OSError, UserError, RunError) as error:
        raise UnreachableError(f"{path} cannot be read: {error}") from error
