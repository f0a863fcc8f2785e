"""What an evaluation is made of: a split embedded once, and sections that look at it.

A section is a settings class. Its key in ``EvaluateSettings`` is its name in the registry of
``evaluation.settings``, where other packages add theirs. ``evaluate`` writes files into the run's
folder and gives findings, of which rows are made; ``recompute`` finds such a row again from its
file, and ``rerun`` that file from the checkpoint. What a section imports that is heavy, it imports
inside these methods.

=============  ==================================  ================================================
section        ``Finding.predictions``             holds
=============  ==================================  ================================================
``retrieval``  ``embeddings.npz``                  see ``evaluation.stored``
``clusters``   ``embeddings.npz``                  the same
``discovery``  ``discovery.parquet``               a line for each target and neighbour:
                                                   ``material_id``, ``neighbor_id``, ``rank``,
                                                   ``similarity``, ``nmae``
``zero_shot``  ``zero_shot-<task name>.parquet``   ``material_id``, ``target``, ``prediction``,
                                                   ``split``
=============  ==================================  ================================================
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from upath import UPath

from omnimat.base.provenance import hardware
from omnimat.base.settings import Settings
from omnimat.evaluation.duplicates import DUPLICATE_RULES, DuplicateRule
from omnimat.leaderboard.finding import Finding
from omnimat.leaderboard.row import Row
from omnimat.materials.split import SPLITS, Split
from omnimat.modalities.layout import PROPERTIES_COLUMN
from omnimat.models.export import Card
from omnimat.models.inputs import export_folder
from omnimat.objectives.embeddings import Column, Embeddings
from omnimat.stream.store import FeatureStore, take_rows
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import FaultError, Remark, UnreachableError
from omnimat.verification.rerun import Sample

if TYPE_CHECKING:
    from omnimat.models.embed import ExportedEncoder

_TASK = re.compile(r"(?P<task>.+?)( \((?P<split>\w+) split\))?")


@dataclass(frozen=True, slots=True)
class Embedder:
    """The encoders of a pretraining run, and the data set that they embed.

    Attributes:
        parent: the folder of the pretraining run.
        cards: the cards of its encoders.
        dataset: the folder of the data set.
        store: the features of the data set.
        batch_size: how many materials are embedded at a time.
    """

    parent: UPath
    cards: Mapping[str, Card]
    dataset: UPath
    store: FeatureStore
    batch_size: int = 256

    def encoder(self, modality: str) -> ExportedEncoder:
        """Load the encoder of a modality."""
        from omnimat.models.embed import ExportedEncoder

        return ExportedEncoder.load(export_folder(self.parent, modality))

    def positions(self, split: Split) -> NDArray[np.int64]:
        """Give the rows of the store that belong to a split."""
        return positions_in(self.store, split)

    def column(self, modality: str, split: Split) -> Column:
        """Embed one modality of a split, with the rows of ``positions(split)``."""
        return self.columns([modality], split)[modality]

    def columns(self, modalities: Collection[str], split: Split) -> dict[str, Column]:
        """Embed several, by modality."""
        positions = self.positions(split)
        return {
            modality: self.encoder(modality).embed_stored(self.store, positions, self.batch_size)
            for modality in modalities
        }

    def hardware(self) -> dict[str, Any]:
        """Describe the machine that embeds."""
        return hardware()

    def embed(self, split: Split, duplicates: DuplicateRule = "symmetry") -> EmbeddedSplit:
        """Embed a split with every encoder."""
        columns = self.columns(self.cards, split)
        embeddings = Embeddings(
            {modality: column.values for modality, column in columns.items()},
            {modality: column.present for modality, column in columns.items()},
        )
        return EmbeddedSplit(split, self.positions(split), embeddings, self, duplicates)


def positions_in(store: FeatureStore, split: Split) -> NDArray[np.int64]:
    """Give the rows of a store that belong to a split."""
    return np.flatnonzero((store.records["split"] == split).to_numpy())


# No slots: cached_property needs a __dict__.
@dataclass(frozen=True)
class EmbeddedSplit:
    """The N materials of a split and their embeddings, all in the same order.

    Attributes:
        split: the split.
        positions: (N,) rows of the store.
        embeddings: for each modality (N, d) float32 unit rows, zero where it is absent, and the
            (N,) mask that says where it is present; on the CPU.
        embedder: what embedded them, and can embed another split.
        duplicates: the rule that decides which materials count as the same.
    """

    split: Split
    positions: NDArray[np.int64]
    embeddings: Embeddings
    embedder: Embedder
    duplicates: DuplicateRule = "symmetry"

    @cached_property
    def records(self) -> pd.DataFrame:
        """The N lines of the record index (``shards.manifest.records_schema``), from index 0."""
        return self.embedder.store.records.iloc[self.positions].reset_index(drop=True)

    @cached_property
    def material_ids(self) -> NDArray[np.str_]:
        """The (N,) ids."""
        return self.records["material_id"].to_numpy(dtype=np.str_)

    @cached_property
    def properties(self) -> list[dict[str, Any]]:
        """The properties of the N materials; a name carries its unit (``band_gap_ev``)."""
        column = self.embedder.store.columns([PROPERTIES_COLUMN])
        texts = take_rows(column, self.positions)[PROPERTIES_COLUMN].to_pylist()
        return [json.loads(text) for text in texts]

    @cached_property
    def duplicate_groups(self) -> NDArray[np.int64]:
        """(N,) labels, which are equal for materials that count as the same."""
        find = DUPLICATE_RULES[self.duplicates]
        return find(self.records, self.properties, self.embedder.dataset)


class Section(Settings):
    """One look at an embedded split; a package that adds a section derives from this class.

    Attributes:
        runs_by_default: whether an evaluation has this section if its job file does not name it.
    """

    runs_by_default: ClassVar[bool] = False

    def judged_by(self, modalities: Collection[str]) -> dict[str, frozenset[str]]:
        """Give, for each modality whose embeddings are judged, the properties that judge them.

        Args:
            modalities: that the run can embed.
        """
        del modalities
        return {}

    @abstractmethod
    def evaluate(self, split: EmbeddedSplit, folder: UPath) -> list[Finding]:
        """Look at the split, write files into the run's folder, and say what was found.

        Raises:
            UserError: if the split or the run does not have what this section needs.
        """

    @classmethod
    def recompute(cls, row: Row, evidence: Evidence) -> Iterator[Remark]:
        """Compute a row of this section again; a section without findings need not define it.

        Raises:
            FaultError: if the row asks for something impossible, or its file does not hold what it
                should, so that there is nothing further to check.
            UnreachableError: if a file is missing or was written by another version.
        """
        del evidence
        raise FaultError(f"section is {row.section!r}, which scores nothing")

    @classmethod
    def rerun(cls, row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
        """Make the file of a row again with its checkpoint, for a sample of its materials.

        Raises:
            UnreachableError: if the section or this omnimat cannot do that.
        """
        del evidence, sample
        raise UnreachableError(f"section {row.section} does not run checkpoints again")


def task_on(task: str, split: Split) -> str:
    """Name a task on a split, so that seen materials are never ranked with unseen ones."""
    return task if split == "test" else f"{task} ({split} split)"


def task_and_split(row: Row) -> tuple[str, Split]:
    """Take apart the name that ``task_on`` gave.

    Raises:
        FaultError: if the split is not that of the configuration.
    """
    matched = _TASK.fullmatch(row.task)
    told = (matched["split"] if matched else None) or "test"
    split = next((one for one in SPLITS if one == told), None)
    if matched is None or split is None or row.config.get("split") != split:
        raise FaultError(f"task is {row.task!r}, config is of the {row.config.get('split')} split")
    return matched["task"], split
