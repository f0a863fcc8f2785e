"""Reads a query into a record: a file according to its ending, or else a formula or words.

The modalities say which files and words they can read (``Modality.query``).
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnimat.base.errors import UserError
from omnimat.materials.record import Record
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.modality import Modality, Query
from omnimat.modalities.registry import MODALITIES

_ID = "query"


@dataclass(frozen=True, slots=True)
class Asked:
    """A query that has been read.

    Attributes:
        record: record that holds the part that was given, and no other.
        label: name of that part for people (``a formula``).
        modality: modality whose encoder reads it, unless another one is asked for.
        query: how it was read.
    """

    record: Record
    label: str
    modality: str
    query: Query

    def notes(self, featurizer: Featurizer) -> list[str]:
        """Return sentences on how what an encoder sees differs from what was given."""
        return self.query.notes(self.record, featurizer) if self._is_own(featurizer) else []

    def _is_own(self, featurizer: Featurizer) -> bool:
        return featurizer.modality == self.modality


def read_query(given: str, modality: str | None = None) -> Asked:
    """Read a query, which is the path of a file, a formula, or words.

    Args:
        given: the query as the user typed it.
        modality: modality that is preferred if several can read files with the same ending.

    Raises:
        UserError: it is none of these, or the file cannot be read.
    """
    queries = [(one, one.load_query()) for one in MODALITIES.load_all().values()]
    known = [(one, query) for one, query in queries if query is not None]
    known.sort(key=lambda pair: pair[0].name != modality)  # the one asked for goes first
    suffix = Path(given).suffix.lower()
    for one, query in known:
        if reader := query.readers.get(suffix):
            return _asked(one, query, _read_file(Path(given), reader))
    if os.path.isfile(given):
        raise UserError(
            f"{given}: this kind of file cannot be read; search by {_endings(known)}, or by a "
            "formula or a sentence"
        )
    for one, query in known:
        part = _from_words(given, query)
        if part is not None:
            return _asked(one, query, part)
    raise UserError(
        f"{given!r} is neither a file that can be read ({_endings(known)}), nor a formula "
        "(LiFePO4), nor a sentence, which is several words in quotes"
    )


def _asked(modality: Modality, query: Query, part: Any) -> Asked:
    return Asked(Record(_ID, {query.part: part}), modality.label, modality.name, query)


def _read_file(path: Path, reader: Any) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        return reader(path)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error


def _from_words(given: str, query: Query) -> Any | None:
    try:
        return None if query.from_words is None else query.from_words(given)
    except ValueError as error:
        raise UserError(f"{given!r}: {error}") from error


def _endings(known: list[tuple[Modality, Query]]) -> str:
    """List the kinds of files that can be read: ``a structure (.cif)``."""
    return ", ".join(
        f"{one.label} ({' or '.join(query.readers)})" for one, query in known if query.readers
    )
