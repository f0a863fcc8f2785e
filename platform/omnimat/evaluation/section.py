"""What an evaluation is made of: a split embedded once, and sections that look at it.

A section is a settings class of its own key in ``EvaluateSettings``, with ``evaluate`` as below; it
imports what is heavy inside that method. It writes its files into the run's folder and gives
findings, of which ``evaluate`` makes rows. Which file proves which finding:

=============  ==================================  ================================================
section        ``Finding.predictions``             holds
=============  ==================================  ================================================
``retrieval``  ``embeddings.npz``                  ``material_id``, ``duplicate_group``; for each
                                                   modality (N, d) float32 under its name, boolean
                                                   (N,) ``<name>_present``
``discovery``  ``discovery.parquet``               a row a target and neighbour: ``material_id``,
                                                   ``neighbor_id``, ``rank``, ``similarity``,
                                                   ``nmae``
``zero_shot``  ``zero_shot-<task name>.parquet``   ``material_id``, ``target``, ``prediction``,
                                                   ``split``
=============  ==================================  ================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from upath import UPath

from omnimat.evaluation.duplicates import DUPLICATE_RULES, DuplicateRule
from omnimat.materials.record import Modality
from omnimat.materials.split import Split
from omnimat.modalities.layout import PROPERTIES_COLUMN
from omnimat.models.embed import ExportedEncoder
from omnimat.models.export import Card
from omnimat.models.inputs import export_folder
from omnimat.objectives.embeddings import Column, Embeddings
from omnimat.stream.store import FeatureStore, take_rows

EMBEDDINGS = "embeddings.npz"


@dataclass(frozen=True, slots=True)
class Embedder:
    """The encoders of a pretraining run over one data set.

    Attributes:
        parent: folder of the pretraining run.
        cards: of its encoders.
        dataset: folder of the data set.
        store: its features.
        batch_size: materials embedded at a time.
    """

    parent: UPath
    cards: Mapping[Modality, Card]
    dataset: UPath
    store: FeatureStore
    batch_size: int = 256

    def encoder(self, modality: Modality) -> ExportedEncoder:
        """Load one encoder."""
        return ExportedEncoder.load(export_folder(self.parent, modality))

    def positions(self, split: Split) -> NDArray[np.int64]:
        """Give the rows of the store that belong to a split."""
        return np.flatnonzero((self.store.records["split"] == split).to_numpy())

    def column(self, modality: Modality, split: Split) -> Column:
        """Embed one modality of a split, rows as in ``positions(split)``."""
        positions = self.positions(split)
        return self.encoder(modality).embed_stored(self.store, positions, self.batch_size)

    def embed(self, split: Split, duplicates: DuplicateRule = "symmetry") -> EmbeddedSplit:
        """Embed a split with every encoder, and find what in it is there twice."""
        columns = {modality: self.column(modality, split) for modality in self.cards}
        embeddings = Embeddings(
            {modality: column.values for modality, column in columns.items()},
            {modality: column.present for modality, column in columns.items()},
        )
        return EmbeddedSplit(split, self.positions(split), embeddings, self, duplicates)


# No slots: cached_property needs a __dict__.
@dataclass(frozen=True)
class EmbeddedSplit:
    """The N materials of a split and their embeddings, all in one order.

    Attributes:
        split: which.
        positions: (N,) rows of the store.
        embeddings: for each modality (N, d) float32 unit rows, zero where absent, and the (N,)
            mask that says where it is present; on the CPU.
        embedder: what made them: ``store``, ``cards``, ``parent`` (folder of the pretraining run),
            ``dataset``, and ``column(modality, split)`` for another split.
        duplicates: which materials count as the same.
    """

    split: Split
    positions: NDArray[np.int64]
    embeddings: Embeddings
    embedder: Embedder
    duplicates: DuplicateRule = "symmetry"

    @cached_property
    def records(self) -> pd.DataFrame:
        """The record index (``shards.manifest.records_schema``) of the N, index 0 to N - 1."""
        return self.embedder.store.records.iloc[self.positions].reset_index(drop=True)

    @cached_property
    def properties(self) -> list[dict[str, Any]]:
        """The properties of the N; a name carries its unit (``band_gap_ev``)."""
        column = self.embedder.store.features.select([PROPERTIES_COLUMN])
        texts = take_rows(column, self.positions)[PROPERTIES_COLUMN].to_pylist()
        return [json.loads(text) for text in texts]

    @cached_property
    def duplicate_groups(self) -> NDArray[np.int64]:
        """(N,) labels, equal for duplicates of each other."""
        find = DUPLICATE_RULES[self.duplicates]
        return find(self.records, self.properties, self.embedder.dataset)


@dataclass(frozen=True, slots=True)
class Finding:
    """One number about a run.

    Attributes:
        task: what was asked (``retrieval text -> structure``), without the split.
        metric: how it is scored (``top-5``).
        value: the score.
        higher_is_better: which way it improves.
        num_test: materials scored.
        predictions: name of the file in the run's folder that it can be computed from again.
        unit: of ``value``; empty where it has none.
        details: what helps to read it: the chance level, scores a class.
        settings: what of the section's settings it depends on, as ``{"zero_shot": {...}}``; part
            of the row's ``config``, so that only seeds of equal settings are averaged.
    """

    task: str
    metric: str
    value: float
    higher_is_better: bool
    num_test: int
    predictions: str = EMBEDDINGS
    unit: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Section(Protocol):
    """Settings of one look at an embedded split."""

    def evaluate(self, split: EmbeddedSplit, folder: UPath) -> list[Finding]:
        """Look, write files into the run's ``folder``, and give the findings."""
