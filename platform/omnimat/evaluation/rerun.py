"""Embeddings made again: the encoders of a run are applied to records from the shards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from omnimat.base.errors import RunError, UserError
from omnimat.evaluation.stored import StoredEmbeddings, read_embeddings
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Record
from omnimat.modalities.batch import feature_table
from omnimat.models.embed import ExportedEncoder
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

_BATCH_SIZE = 256


def rerun_embeddings(row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
    """Embed a sample again, once for all rows of one file, and compare it with what is stored.

    Raises:
        UnreachableError: if the encoders cannot be built by this omnimat.
    """
    key = ("rerun", row.predictions_uri, checkpoint_of(row), row.dataset_uri, row.dataset)
    yield from evidence.remembered(key, lambda: list(_embedded_again(row, evidence, sample)))


def _embedded_again(row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
    stored = read_embeddings(row, evidence)
    export = evidence.folder(checkpoint_of(row), "checkpoint_uri")
    places = sample.of(len(stored.material_ids))
    ids = np.array(stored.material_ids)[places]
    records = records_in_order(evidence.dataset(row), ids.tolist())
    off = np.zeros(len(ids))
    for modality in stored.embeddings.values:
        try:
            encoder = ExportedEncoder.load(export / modality)
            off = np.maximum(off, _off(_column(encoder, records), stored, modality, places))
        except (UserError, RunError) as error:
            raise UnreachableError(str(error)) from error
    of = len(stored.material_ids)
    yield from check_again(row.predictions_uri, ids, off, tolerance_of(row), of)


def _column(encoder: ExportedEncoder, records: list[Record]) -> Column:
    featurizers = {encoder.card.modality: encoder.featurizer}
    parts = [
        encoder.embed_table(feature_table(records[start : start + _BATCH_SIZE], featurizers))
        for start in range(0, len(records), _BATCH_SIZE)
    ]
    return Column(
        torch.cat([part.values for part in parts]), torch.cat([part.present for part in parts])
    )


def _off(again: Column, stored: StoredEmbeddings, modality: str, places: np.ndarray) -> np.ndarray:
    """Say of n materials how far the embeddings, of unit length, are from those of before."""
    rows = torch.from_numpy(places)
    before = stored.embeddings.column(modality)
    off = (again.values - before.values[rows]).abs().amax(dim=1)
    return torch.where(again.present == before.present[rows], off, torch.inf).double().numpy()
