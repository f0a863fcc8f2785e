"""Finds the materials nearest to a query by the cosine of their embeddings.

Every material is compared: a million embeddings of width 128 are 512 MB, which two cores read in
a twentieth of a second, so that no approximation is needed (``jobs/benchmarks/index_search.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.materials.record import Record
from omnimat.materials.split import SPLITS
from omnimat.modalities.layout import Featurizer
from omnimat.models.embed import ExportedEncoder
from omnimat.models.inputs import read_pretraining
from omnimat.search.encoders import Encoders
from omnimat.search.hits import hits_of
from omnimat.search.index import Index
from omnimat.search.nearest import check_top, nearest
from omnimat.search.of_run import open_index
from omnimat.search.read import Asked, read_query

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A query that was embedded.

    Attributes:
        query: the query as it was given.
        modality: modality whose encoder read it.
        notes: sentences on how what the encoder saw differs from what was given.
        vector: (d,) its embedding, of unit length.
    """

    query: str
    modality: str
    notes: list[str]
    vector: Float


@dataclass(frozen=True, slots=True)
class Answer:
    """The materials nearest to a query.

    Attributes:
        query: the query as it was given.
        modality: modality whose encoder read it.
        against: modality of the materials that it was compared with.
        source: what was searched: the name of a data set or of an index.
        num_candidates: how many materials were compared.
        notes: sentences on how what the encoder saw differs from what was given.
        hits: materials, the nearest first (``hits_of``); equally near ones are in the order of
            their names.
    """

    query: str
    modality: str
    against: str
    source: str
    num_candidates: int
    notes: list[str]
    hits: pd.DataFrame


def search_run(
    run: str,
    queries: Sequence[str],
    workspace: Workspace,
    *,
    dataset: str | None = None,
    split: str | None = None,
    modality: str | None = None,
    against: str | None = None,
    top: int = 10,
) -> list[Answer]:
    """Find the materials of a data set that are nearest to each query.

    Args:
        run: name of a pretraining run.
        queries: files, formulas or sentences; see ``read_query``.
        workspace: workspace that holds the run and the data set.
        dataset: name of the data set; None for the one on which the run was pretrained.
        split: split whose materials are compared; None for all.
        modality: modality whose encoder reads the queries; None for that of each query.
        against: modality of the materials that is compared; None for the structure if the run has
            an encoder of it, or else for the first modality that it has.
        top: how many materials to find for each query.

    Raises:
        UserError: a query cannot be read, the run has no encoder for it, or no material can be
            compared.
        RunError: an embedding is not finite.
    """
    check_top(top)
    folder = workspace.run(run)
    encoders = Encoders.of_run(run, folder)
    compared = _compared(against, encoders)
    _check_split(split)
    embedded = embed_queries(encoders, queries, modality)
    name = dataset or str(read_pretraining(folder)["settings"]["dataset"])
    index = open_index(workspace, folder, name, compared, encoders)
    return _answers(index, embedded, split, top)


def search_index(
    encoders: Encoders,
    index: Index,
    queries: Sequence[str | Record],
    *,
    split: str | None = None,
    modality: str | None = None,
    top: int = 10,
) -> list[Answer]:
    """Find the materials of an index that are nearest to each query; see ``search_run``.

    Raises:
        UserError: a query cannot be read, there is no encoder for it, other encoders made the
            index, or no material can be compared.
        RunError: an embedding is not finite.
    """
    check_top(top)
    encoders.check_made(index.card.origin, index.place)
    _check_split(split)
    return _answers(index, embed_queries(encoders, queries, modality), split, top)


def _check_split(split: str | None) -> None:
    """Check that a split is one.

    Raises:
        UserError: there is no such split.
    """
    if split is not None and split not in SPLITS:
        raise UserError(f"--split: {split!r} is not a split; choose one of {', '.join(SPLITS)}")


def embed_queries(
    encoders: Encoders, queries: Sequence[str | Record], modality: str | None = None
) -> list[Embedded]:
    """Read queries and embed them.

    Args:
        encoders: one of them reads each query.
        queries: files, formulas or sentences (``read_query``), or records.
        modality: modality whose encoder reads the queries; None for that of each query.

    Raises:
        UserError: a query cannot be read, or there is no encoder for it.
        RunError: an embedding is not finite.
    """
    read = [(_shown(given), read_query(given, modality)) for given in queries]
    readers = [_reader(asked, modality, encoders) for _, asked in read]
    loaded = {name: encoders.load(name) for name in dict.fromkeys(readers)}
    return [
        Embedded(
            query=given,
            modality=reader,
            notes=asked.notes(encoders.featurizers[reader]),
            vector=_vector(given, asked, loaded[reader]),
        )
        for (given, asked), reader in zip(read, readers, strict=True)
    ]


def _answers(
    index: Index, embedded: Sequence[Embedded], split: str | None, top: int
) -> list[Answer]:
    """Find the materials of an index that are nearest to each of some queries.

    Raises:
        UserError: no material can be compared.
    """
    rows, origin = index.rows(split), index.card.origin
    if not len(rows):
        whose = f"{split} material" if split else "material"
        raise UserError(f"{origin.source!r} has no {whose} with {origin.modality}")
    found = nearest(np.stack([one.vector for one in embedded]), index.embeddings, rows, top)
    return [
        _answer(index, one, len(rows), hits_of(index, *pair))
        for one, pair in zip(embedded, zip(*found, strict=True), strict=True)
    ]


def _answer(index: Index, query: Embedded, num_candidates: int, hits: pd.DataFrame) -> Answer:
    hits.attrs["notes"] = query.notes
    origin = index.card.origin
    return Answer(
        query=query.query,
        modality=query.modality,
        against=origin.modality,
        source=origin.source,
        num_candidates=num_candidates,
        notes=query.notes,
        hits=hits,
    )


def _compared(against: str | None, encoders: Encoders) -> str:
    """Choose the modality of the materials that is compared; the run must have its encoder."""
    names = tuple(encoders.cards)
    chosen = against or ("structure" if "structure" in names else names[0])
    if chosen not in names:
        raise UserError(
            f"--against: {encoders.name!r} has no encoder of {chosen}; choose one of "
            f"{', '.join(names)}"
        )
    return chosen


def _reader(asked: Asked, modality: str | None, encoders: Encoders) -> str:
    """Choose the encoder that reads a query."""
    featurizers: Mapping[str, Featurizer] = encoders.featurizers
    part = f"has_{asked.query.part}"
    readers = [name for name, one in featurizers.items() if part in one.index_columns]
    readable = tuple(dict.fromkeys([asked.modality, *readers]))
    chosen = modality or asked.modality
    if chosen not in readable:
        raise UserError(f"--modality: {asked.label} gives {' or '.join(readable)}, not {chosen}")
    if chosen not in featurizers:
        remedy = f"give --modality {readers[0]}" if readers else "search with another model"
        raise UserError(
            f"{asked.label} needs an encoder of {chosen}; {encoders.name!r} has those of "
            f"{', '.join(featurizers)}: {remedy}"
        )
    return chosen


def _vector(given: str, asked: Asked, encoder: ExportedEncoder) -> Float:
    """Embed a query, shape (d,)."""
    try:
        vector: Float = encoder.embed_record(asked.record).numpy()
    except ValueError as error:
        remedy = f"; {asked.query.remedy}" if asked.query.remedy else ""
        raise UserError(f"{given}: {error}{remedy}") from error
    return vector


def _shown(given: str | Record) -> str:
    return given if isinstance(given, str) else given.material_id
