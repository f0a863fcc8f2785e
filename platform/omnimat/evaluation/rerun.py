"""Embeddings made again: the encoders of a run are applied to records from the shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.base.errors import RunError, UserError
from omnimat.evaluation.stored import StoredEmbeddings, read_embeddings
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Record
from omnimat.modalities.batch import feature_table
from omnimat.modalities.layout import self_contained
from omnimat.objectives.embeddings import Column
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import Remark, UnreachableError
from omnimat.verification.rerun import (
    Sample,
    check_again,
    checkpoint_of,
    records_in_order,
    tolerance_of,
)
from omnimat.verification.tables import read_table

if TYPE_CHECKING:
    from torch import Tensor

    from omnimat.models.embed import ExportedEncoder

_BATCH_SIZE = 256


def rerun_embeddings(row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
    """Embed a sample again, once for all rows of one file, and compare it with what is stored.

    Raises:
        UnreachableError: if the encoders cannot be built by this omnimat.
    """
    key = ("rerun", row.predictions_uri, checkpoint_of(row), row.dataset_uri, row.dataset)
    yield from evidence.remembered(key, lambda: list(_embedded_again(row, evidence, sample)))


def rerun_labels(
    row: Row,
    evidence: Evidence,
    sample: Sample,
    modality: str,
    embed_labels: Callable[[ExportedEncoder], Mapping[str, Tensor]],
) -> Iterator[Remark]:
    """Embed labels and a sample of materials again; what was predicted must be the nearest label.

    Args:
        row: the row.
        evidence: where its files are read from.
        sample: how many materials are embedded.
        modality: what is embedded of a material.
        embed_labels: embeds each label with the run's text encoder: (d,) of unit length.

    Raises:
        UnreachableError: if the encoders cannot be built by this omnimat.
    """
    import torch

    table = read_table(row, evidence)
    chosen = table.iloc[sample.of(len(table))]
    ids = chosen["material_id"].to_numpy(dtype=np.str_)
    with _encoders():
        labels = embed_labels(_encoder(row, evidence, "text"))
        column = _column(_encoder(row, evidence, modality), _records(row, evidence, ids))
    similarities = (column.values @ torch.stack(list(labels.values())).T).double().numpy()
    places = pd.Index(list(labels)).get_indexer(pd.Index(chosen["prediction"]))
    most = similarities.max(axis=1)
    off = most - similarities[np.arange(len(ids)), places]
    # A material without the modality is near no label, and one as near to all has no nearest.
    off[~column.present.numpy() | (most == similarities.min(axis=1))] = np.inf
    yield from check_again(row.predictions_uri, ids, off, tolerance_of(row), len(table))


def _embedded_again(row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
    stored = read_embeddings(row, evidence)
    places = sample.of(len(stored.material_ids))
    ids = np.array(stored.material_ids)[places]
    records = _records(row, evidence, ids)
    off = np.zeros(len(ids))
    for modality in stored.embeddings.values:
        with _encoders():
            column = _column(_encoder(row, evidence, modality), records)
        off = np.maximum(off, _off(column, stored, modality, places))
    of = len(stored.material_ids)
    yield from check_again(row.predictions_uri, ids, off, tolerance_of(row), of)


@contextmanager
def _encoders() -> Iterator[None]:
    """Encoders that cannot be built or applied say nothing against a row."""
    try:
        yield
    except (UserError, RunError) as error:
        raise UnreachableError(str(error)) from error


def _encoder(row: Row, evidence: Evidence, modality: str) -> ExportedEncoder:
    from omnimat.models.embed import ExportedEncoder

    export = evidence.folder(checkpoint_of(row), "checkpoint_uri")
    encoder = ExportedEncoder.load(export / modality)
    self_contained({modality: encoder.featurizer})
    return encoder


def _records(row: Row, evidence: Evidence, ids: NDArray[np.str_]) -> list[Record]:
    return records_in_order(evidence.dataset(row), ids.tolist())


def _column(encoder: ExportedEncoder, records: list[Record]) -> Column:
    import torch

    featurizers = {encoder.card.modality: encoder.featurizer}
    parts = [
        encoder.embed_table(feature_table(records[start : start + _BATCH_SIZE], featurizers))
        for start in range(0, len(records), _BATCH_SIZE)
    ]
    return Column(
        torch.cat([part.values for part in parts]), torch.cat([part.present for part in parts])
    )


def _off(
    again: Column, stored: StoredEmbeddings, modality: str, places: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Say of n materials how far the embeddings, of unit length, are from those of before."""
    import torch

    rows = torch.from_numpy(places)
    before = stored.embeddings.column(modality)
    off = (again.values - before.values[rows]).abs().amax(dim=1)
    is_alike = again.present == before.present[rows]
    found: NDArray[np.float64] = torch.where(is_alike, off, torch.inf).double().numpy()
    return found
