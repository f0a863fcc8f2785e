"""Reads a query into a record: a file by its format, or else a formula or words.

The formats (``omnimat.formats``) read files; the modalities say which words they can read, and by
which of them a user may ask (``Modality.query``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from typing import Any

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.formats.format import FORMATS, Format, Reading, format_of
from omnimat.materials.record import Failure, Record
from omnimat.materials.validation import validate
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.modality import Modality, Query
from omnimat.modalities.registry import MODALITIES

_ID = "query"


@dataclass(frozen=True, slots=True)
class Asked:
    """A query that has been read.

    Attributes:
        record: record of what was given.
        label: name of the part that is asked by, for people (``a formula``).
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


def read_query(given: str | Record, modality: str | None = None) -> Asked:
    """Read a query, which is the path of a file, a formula, words, or a record.

    Args:
        given: the query as the user typed it, or a record.
        modality: modality to ask by if a file holds several.

    Raises:
        UserError: it is none of these, or the file cannot be read.
    """
    if isinstance(given, Record):
        return _of_parts(given.material_id, dict(given.parts), _known(), modality)
    if os.path.isfile(given):
        return _of_parts(given, _read_file(given), _known(), modality)
    if _has_known_ending(given):
        raise UserError(f"{given}: there is no such file")
    if (asked := _of_words(given)) is not None:
        return asked
    raise UserError(
        f"{given!r} is neither a file of a format that can be read ({kinds_of_files()}), nor a "
        "formula (LiFePO4), nor a sentence, which is several words in quotes"
    )


def read_words(given: str) -> Record:
    """Read a formula or a sentence, and never a file, whatever the words are.

    Raises:
        UserError: it is neither.
    """
    if (asked := _of_words(given)) is None:
        raise UserError(
            f"{given!r} is neither a formula (LiFePO4) nor a sentence, which is several words"
        )
    return asked.record


def _known() -> list[tuple[Modality, Query]]:
    """Give the modalities by which a user may ask."""
    queries = [(one, one.load_query()) for one in MODALITIES.load_all().values()]
    return [(one, query) for one, query in queries if query is not None]


def _of_words(given: str) -> Asked | None:
    for one, query in _known():
        part = _from_words(given, query)
        if part is not None:
            return _asked(one, query, {query.part: part})
    return None


def kinds_of_files() -> str:
    """List the formats with the names of their files: ``CIF (.cif), VASP DOSCAR (doscar*)``."""
    return ", ".join(
        f"{one.label} ({' or '.join(pattern.removeprefix('*') for pattern in one.patterns)})"
        for one in FORMATS.load_all().values()
    )


def _asked(modality: Modality, query: Query, parts: dict[str, Any]) -> Asked:
    return Asked(Record(_ID, parts), modality.label, modality.name, query)


def _read_file(given: str) -> dict[str, Any]:
    """Return the parts of the only entry of a file."""
    path = UPath(os.path.abspath(given))
    format_ = format_of(path)
    if format_ is None:
        raise UserError(
            f"{given}: this kind of file cannot be read; search by a file of another format "
            f"({kinds_of_files()}), by a formula or by a sentence"
        )
    try:
        parts = _only_entry(format_, path)
        if "structure" in parts:
            validate(parts["structure"])
    except (ValueError, OSError) as error:
        raise UserError(f"{given}: {' '.join(str(error).split())}") from error
    return parts


def _only_entry(format_: Format, path: UPath) -> dict[str, Any]:
    entries = list(islice(format_.entries(path, Reading(), 0, 2), 2))
    if len(entries) != 1:
        number = "no entry" if not entries else "more than one entry"
        raise ValueError(f"the file holds {number}; give a file with one")
    if isinstance(entries[0], Failure):
        raise ValueError(entries[0].reason)
    return dict(entries[0].parts)


def _of_parts(
    given: str,
    parts: dict[str, Any],
    known: Sequence[tuple[Modality, Query]],
    modality: str | None,
) -> Asked:
    """Choose the modality of a file by which to ask."""
    held = [(one, query) for one, query in known if query.part in parts]
    names = [one.name for one, _ in held]
    if not held:
        raise UserError(f"{given}: a search is not possible by {', '.join(parts) or 'its content'}")
    if modality is None and len(held) > 1:
        raise UserError(
            f"{given}: it holds {' and '.join(one.label for one, _ in held)}; give --modality "
            f"{' or '.join(names)}"
        )
    # Another modality may follow from the first one, which is the structure if there is one.
    one, query = held[names.index(modality)] if modality in names else held[0]
    return _asked(one, query, parts)


def _has_known_ending(given: str) -> bool:
    """Say whether words end as the name of a file does."""
    name = os.path.basename(given).lower()
    patterns = (pattern for one in FORMATS.load_all().values() for pattern in one.patterns)
    return any(pattern.startswith("*.") and fnmatch(name, pattern) for pattern in patterns)


def _from_words(given: str, query: Query) -> Any | None:
    try:
        return None if query.from_words is None else query.from_words(given)
    except ValueError as error:
        raise UserError(f"{given!r}: {error}") from error
