"""Makes an index of materials with a packed model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.paths import expanded_path
from omnimat.inference.columns import NAME
from omnimat.inference.features import MAX_ROWS, featurized
from omnimat.inference.model import Model
from omnimat.inference.parts import chunk_of, embedding_parts, predicted_columns
from omnimat.inference.read import Given, in_chunks, read_all
from omnimat.inference.unpacked import Unpacked
from omnimat.materials.record import Record
from omnimat.search.index import Index, check_free, write_index
from omnimat.search.materials import (
    KNOWN,
    PREDICTED,
    SPLIT,
    Chunk,
    Contents,
    facts_of,
    rows_as_columns,
    under,
)
from omnimat.shards.manifest import MANIFEST_NAME, Manifest
from omnimat.shards.reader import read_records
from omnimat.sources.labels.matching import FILE, Labels
from omnimat.sources.labels.reader import read_labels
from omnimat.sources.labels.settings import LabelsSettings
from omnimat.stream.source import decoded

_AT_A_TIME = 16 * MAX_ROWS


def index(
    model: Model,
    inputs: Any,
    path: str | os.PathLike[str],
    *,
    modality: str | None = None,
    known: str | os.PathLike[str] | None = None,
    id_column: str = "material_id",
    strict: bool = False,
    progress: bool = False,
) -> Index:
    """Index materials: embed them, and predict their properties if the model predicts.

    Args:
        model: the model.
        inputs: as for ``Model.predict``; or the folder of a data set; or Parquet tables of
            embeddings of this model, or a folder of them, with columns ``material_id``,
            ``embedding`` and any others, which are known or predicted properties by their names.
        path: folder to write, or a URI.
        modality: the modality whose encoder embeds; by default the first that the model has.
        known: table of known properties: CSV, TSV, Parquet or JSON lines; every column but the ids
            is one. What the inputs tell themselves is known without it.
        id_column: column of ``known`` with the names of the materials or of their files.
        strict: raise an error where a material cannot be embedded.
        progress: show a progress bar.

    Returns:
        The index, whose ``materials`` have a row for each material; ``left_out()`` gives the others
        with the reason of each.

    Raises:
        UserError: there is something at ``path``, the model has no encoder of the modality, a table
            cannot be read, nothing can be embedded; or, if ``strict``, a material cannot be.
    """
    place = expanded_path(os.fspath(path), "path")
    check_free(place)
    chosen = model.networks.modality(modality)
    labels = None if known is None else _labels(os.fspath(known), id_column)
    chunks = []
    for chunk in _chunks(model.networks, inputs, chosen, progress=progress):
        lost = next(_lost(chunk), None)
        if strict and lost is not None:
            raise UserError(f"{lost[0]}: {lost[1]}")
        chunks.append(chunk if labels is None else _labelled(chunk, labels))
    if not any(len(one.names) > sum(1 for _ in _lost(one)) for one in chunks):
        first = next((": ".join(pair) for one in chunks for pair in _lost(one)), "there is nothing")
        raise UserError(f"inputs: nothing in them can be embedded: {first}")
    origin = model.networks.encoders.origin(chosen, place.name)
    return write_index(place, origin, Contents.of(chunks))


def _chunks(networks: Unpacked, inputs: Any, modality: str, *, progress: bool) -> Iterator[Chunk]:
    """Embed what is given, some at a time."""
    predictor = networks.card.predictor
    if parts := embedding_parts(inputs):
        width = networks.card.encoders[modality].embedding_dim
        predicted = predicted_columns(predictor)
        yield from (chunk_of(one, width, predicted) for one in tqdm(parts, disable=not progress))
        return
    needed = () if predictor is None else predictor.network.modalities
    featurizers = networks.featurizers(tuple(dict.fromkeys([modality, *needed])))
    with tqdm(disable=not progress, unit=" crystals") as bar:
        for some, told in _read(inputs):
            names = [one.name for one in some]
            features = featurized(names, [one.record for one in some], featurizers)
            embedded = networks.embed(features, modality)
            columns = told | rows_as_columns([_known(one) for one in some])
            if predictor is not None:
                columns |= _columns_of(networks.predict(features).table)
            yield Chunk(names, embedded.vectors, embedded.notes, columns)
            bar.update(len(some))


def _read(inputs: Any) -> Iterator[tuple[list[Given], dict[str, list[Any]]]]:
    """Read materials, some at a time, and what a data set says of them besides."""
    is_one = isinstance(inputs, str | os.PathLike)
    several = [inputs] if is_one else inputs
    if not isinstance(several, list | tuple) or not any(map(_is_dataset, several)):
        yield from ((some, {}) for some in in_chunks(read_all(several), _AT_A_TIME))
        return
    for one in several:
        if _is_dataset(one):
            yield from _of_dataset(UPath(one))
        else:
            yield from _read(one)


def _is_dataset(one: Any) -> bool:
    return isinstance(one, str | os.PathLike) and os.path.isfile(os.path.join(one, MANIFEST_NAME))


def _of_dataset(folder: UPath) -> Iterator[tuple[list[Given], dict[str, list[Any]]]]:
    records = Manifest.load(folder).records(folder)
    for first in range(0, len(records), _AT_A_TIME):
        rows = records.iloc[first : first + _AT_A_TIME]
        some = [Given(one.material_id, decoded(one)) for one in read_records(folder, rows)]
        yield some, {SPLIT: rows[SPLIT].to_list()}


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


def _labels(path: str, id_column: str) -> Labels:
    settings = LabelsSettings(path=path, id=id_column).located()
    return read_labels(settings, "known", "known.{}")


def _labelled(chunk: Chunk, labels: Labels) -> Chunk:
    """Replace what is known by the labels of a table, all of a property or nothing."""
    rows: list[Mapping[str, Any]] = []
    for name in chunk.names:
        # The name of an entry within a file may be its id.
        named = Record(name.rpartition(":")[2], provenance={FILE: name})
        found = labels.id_of(named)
        rows.append({} if found is None else labels.usable(found))
    known = {label: [row.get(label) for row in rows] for label in labels.kinds}
    return replace(chunk, columns={**chunk.columns, **under(KNOWN, known)})
