"""Makes an index of materials with a packed model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from omnimat.base.errors import UserError
from omnimat.base.paths import expanded_path
from omnimat.inference.columns import NAME
from omnimat.inference.features import ROWS_AT_A_TIME, featurized
from omnimat.inference.known import known_labels, labelled, unused
from omnimat.inference.model import Model
from omnimat.inference.parts import chunk_of, embedding_parts, predicted_columns
from omnimat.inference.read import Columns, Given, dataset_folder, in_chunks, read_all, watched
from omnimat.inference.unpacked import Unpacked
from omnimat.materials.record import Record
from omnimat.search.index import Index, check_free, write_index
from omnimat.search.materials import (
    PREDICTED,
    SPLIT,
    Chunk,
    Contents,
    facts_of,
    rows_as_columns,
    under,
)
from omnimat.shards.manifest import Manifest


def index(
    model: Model,
    inputs: Any,
    path: str | os.PathLike[str],
    *,
    modality: str | None = None,
    columns: Columns | None = None,
    known: str | os.PathLike[str] | None = None,
    id_column: str = "material_id",
    strict: bool = False,
    progress: bool = True,
) -> Index:
    """Index materials: embed them, and predict their properties if the model predicts.

    Args:
        model: the model.
        inputs: as for ``Model.embed``; or Parquet tables of embeddings of this model, or a folder
            of them, with columns ``material_id``, ``embedding`` and any others, which are known or
            predicted properties by their names.
        path: folder to write, or a URI.
        modality: the modality whose encoder embeds; by default the first that the model has.
        columns: as for ``Model.embed``.
        known: table of known properties: CSV, TSV, Parquet or JSON lines; every column but the ids
            is one, named as ``omnimat ingest`` names it. What data sets, files of crystals and
            tables of materials tell is known without it, unless a column here has that name.
        id_column: column of ``known`` with the names of the materials or of their files.
        strict: raise an error where a material cannot be embedded.
        progress: show a progress bar on a terminal, after two seconds.

    Returns:
        The index, whose ``materials`` have a row for each material; ``left_out()`` gives the others
        with the reason of each.

    Raises:
        UserError: there is something at ``path``, the model has no encoder of the modality, a table
            cannot be read, ``known`` names none of the materials, nothing can be embedded; or, if
            ``strict``, a material cannot be.
    """
    place = expanded_path(os.fspath(path), "path")
    check_free(place)
    chosen = model.networks.modality(modality)
    labels = None if known is None else known_labels(os.fspath(known), id_column)
    chunks = []
    for chunk in _chunks(model.networks, inputs, columns, chosen, progress=progress):
        lost = next(_lost(chunk), None)
        if strict and lost is not None:
            raise UserError(f"{lost[0]}: {lost[1]}")
        chunks.append(chunk if labels is None else labelled(chunk, labels))
    if not any(len(one.names) > sum(1 for _ in _lost(one)) for one in chunks):
        first = next((": ".join(pair) for one in chunks for pair in _lost(one)), "there is nothing")
        raise UserError(f"inputs: nothing in them can be embedded: {first}")
    if labels is not None:
        unused(labels, [name for one in chunks for name in one.names])
    origin = model.networks.encoders.origin(chosen, place.name)
    return write_index(place, origin, Contents.of(chunks))


def _chunks(
    networks: Unpacked, inputs: Any, columns: Columns | None, modality: str, *, progress: bool
) -> Iterator[Chunk]:
    """Embed what is given, some at a time."""
    predictor = networks.card.predictor
    if parts := embedding_parts(inputs):
        width = networks.card.encoders[modality].embedding_dim
        encoder = networks.encoders.fingerprint_of(modality)
        predicted = predicted_columns(predictor)
        yield from (chunk_of(one, width, encoder, predicted) for one in parts)
        return
    needed = () if predictor is None else predictor.network.modalities
    featurizers = networks.featurizers(tuple(dict.fromkeys([modality, *needed])))
    splits = _splits(inputs)
    for some in in_chunks(watched(read_all(inputs, columns), progress), ROWS_AT_A_TIME):
        names = [one.name for one in some]
        features = featurized(names, [one.record for one in some], featurizers)
        embedded = networks.embed(features, modality)
        told = rows_as_columns([_known(one) for one in some])
        if splits:
            told[SPLIT] = [splits.get(one) for one in names]
        if predictor is not None:
            told |= _columns_of(networks.predict(features).table)
        yield Chunk(names, embedded.vectors, embedded.notes, told)


def _splits(inputs: Any) -> dict[str, str]:
    """Give the split of each material of the data sets that inputs name."""
    several = inputs if isinstance(inputs, list | tuple) else [inputs]
    names = [os.fspath(one) for one in several if isinstance(one, str | os.PathLike)]
    found: dict[str, str] = {}
    for folder in filter(None, map(dataset_folder, names)):
        records = Manifest.load(folder).records(folder)
        found |= dict(zip(records["material_id"], records[SPLIT], strict=True))
    return found


def _known(given: Given) -> dict[str, Any]:
    return facts_of(given.record) if isinstance(given.record, Record) else {}


def _columns_of(predictions: pd.DataFrame) -> dict[str, list[Any]]:
    """Name the columns of a table of predictions as those of an index."""
    plain = predictions.drop(columns=NAME)
    cells = {str(name): [_plain(one) for one in plain[name]] for name in plain}
    return under(PREDICTED, cells)


def _plain(cell: Any) -> Any:
    if isinstance(cell, np.ndarray):
        return cell.tolist()
    return None if cell == "" else cell  # a note that there is nothing to note


def _lost(chunk: Chunk) -> Iterator[tuple[str, str]]:
    """Give the materials that could not be embedded, each with its reason."""
    has = np.isfinite(chunk.vectors).all(axis=1)
    return ((chunk.names[i], chunk.reasons[i]) for i in np.flatnonzero(~has).tolist())
