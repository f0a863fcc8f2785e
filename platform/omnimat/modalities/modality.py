"""What a modality is: one kind of knowledge about a material, from its bytes to its encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnimat.base.registry import imported
from omnimat.materials.record import Record
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.storage import Stored


@dataclass(frozen=True, slots=True)
class Modality:
    """One kind of knowledge about a material.

    A folder defines it in its ``__init__.py``, which imports nothing heavy: classes are named by
    import path (``module:name``) and imported when they are used.

    Attributes:
        name: its name in job files, embeddings and results (``dos``).
        label: its name for people, with an article (``a density of states``).
        stored: the parts of a record that belong to it.
        featurizers: the settings class of each featurizer by ``type``; the first is the default.
        encoders: the settings class of each encoder by ``type``; the first is the default. An
            encoder of another modality serves as well, where the arrays have the same names.
        augmentation: the settings class of its random views; None where it has none.
        query: how a file or words that people give become a record; None where nothing does.
    """

    name: str
    label: str
    stored: tuple[Stored, ...]
    featurizers: Mapping[str, str]
    encoders: Mapping[str, str]
    augmentation: str | None = None
    query: str | None = None

    def featurizer_classes(self) -> tuple[type[Any], ...]:
        """Import the featurizers' settings classes."""
        return tuple(imported(path) for path in self.featurizers.values())

    def load_query(self) -> Query | None:
        """Import how a query is read."""
        query: Query | None = None if self.query is None else imported(self.query)
        return query


def no_notes(record: Record, featurizer: Featurizer) -> list[str]:
    """Say nothing: what the encoder sees is what was given."""
    del record, featurizer
    return []


@dataclass(frozen=True, slots=True)
class Query:
    """How a file or words become a record that holds one part.

    Attributes:
        part: the part that is read; other modalities may derive theirs from it.
        readers: what reads a file into that part, by the file's ending. It raises a ``ValueError``
            with the reason where a file cannot be read.
        from_words: reads the part from words; None where they say no such thing.
        remedy: what to do where an encoder of this modality cannot read what was given.
        notes: says in whole sentences how what the encoder sees differs from what was given.
    """

    part: str
    readers: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)
    from_words: Callable[[str], Any | None] | None = None
    remedy: str = ""
    notes: Callable[[Record, Featurizer], list[str]] = no_notes
