"""The definition of a modality, from the bytes in which it is stored to its encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from omnimat.base.registry import imported
from omnimat.materials.record import Record
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.storage import Stored


@dataclass(frozen=True, slots=True)
class Modality:
    """One kind of knowledge about a material.

    Each modality is a folder, which defines it in its ``__init__.py``. That file imports nothing
    heavy: it names classes by import path (``module:name``), and they are imported when used.

    Attributes:
        name: its name in job files, embeddings and results (``dos``).
        label: its name for people, with an article (``a density of states``).
        stored: parts of a record that belong to it.
        featurizers: settings class of each featurizer by ``type``; the first is the default.
        encoders: settings class of each encoder by ``type``; the first is the default. An encoder
            of another modality can be named too if the arrays have the same names. A modality
            without any can only be predicted.
        augmentation: settings class of its random views; None if it has none.
        query: how a user asks by this modality; None if that is not possible.
    """

    name: str
    label: str
    stored: tuple[Stored, ...]
    featurizers: Mapping[str, str]
    encoders: Mapping[str, str]
    augmentation: str | None = None
    query: str | None = None

    def featurizer_classes(self) -> tuple[type[Any], ...]:
        """Import the settings classes of the featurizers."""
        return tuple(imported(path) for path in self.featurizers.values())

    def load_query(self) -> Query | None:
        """Import what reads a query, if there is anything."""
        query: Query | None = None if self.query is None else imported(self.query)
        return query


def no_notes(record: Record, featurizer: Featurizer) -> list[str]:
    """Return no notes, because the encoder sees what was given."""
    del record, featurizer
    return []


@dataclass(frozen=True, slots=True)
class Query:
    """How a user asks by a modality: by a file that holds its part, or by words.

    The formats (``omnimat.formats``) read files.

    Attributes:
        part: the part that is asked by; other modalities may derive theirs from it.
        from_words: function that reads the part from words; it returns None if they do not name
            such a part.
        remedy: what to do if an encoder of this modality cannot read what was given.
        notes: function that says in whole sentences how what the encoder sees differs from what
            was given.
    """

    part: str
    from_words: Callable[[str], Any | None] | None = None
    remedy: str = ""
    notes: Callable[[Record, Featurizer], list[str]] = no_notes
