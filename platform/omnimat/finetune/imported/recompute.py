"""Imported rows, computed again from the copy of the published file and the data set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.finetune.imported.form import Form
from omnimat.finetune.imported.table import PublishedTable, read_table
from omnimat.finetune.recompute import Judged, check_scores
from omnimat.leaderboard.imported import IMPORTED, Published, published_in
from omnimat.leaderboard.row import Row
from omnimat.materials.values import known
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import FaultError, Note, Remark, UnreachableError, named
from omnimat.verification.rerun import Sample

_KEY = f"details.{IMPORTED}.file_uri"


def recompute(row: Row, evidence: Evidence) -> Iterator[Remark]:
    """Score the predictions again, and hold them against the file that they were taken from.

    Raises:
        FaultError: if the row does not say where its predictions come from, or there are none.
        UnreachableError: if a file is missing or was written by another version.
    """
    judged = yield from check_scores(row, evidence)
    source = published_in(row.details)
    if source is None:
        raise FaultError(f"details.{IMPORTED} does not say where the predictions come from")
    there = evidence.sha256(source.file_uri, _KEY)
    if there != source.file_sha256:
        raise FaultError(f"{source.file_uri}: sha256 is {there}, the row says {source.file_sha256}")
    yield from _check_source(judged, source, _table(source, evidence))
    if missing := len(judged.unscored()):
        yield Note(f"{missing} materials of the split have the target and no published prediction")


def rerun(row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
    """Nobody here can run the model.

    Raises:
        UnreachableError: always.
    """
    del row, evidence, sample
    raise UnreachableError("its predictions were imported, without a checkpoint")


def _table(source: Published, evidence: Evidence) -> PublishedTable:
    path = UPath(evidence.place(source.file_uri, _KEY))
    columns = (source.id_column, *source.where, source.column)
    key = (str(path), *columns, *source.where.values())
    try:
        return evidence.latest(
            IMPORTED, key, lambda: read_table(path, source.id_column, source.where, columns)
        )
    except UserError as error:
        raise FaultError(str(error)) from error


def _check_source(judged: Judged, source: Published, table: PublishedTable) -> Iterator[Remark]:
    known_ids = np.array(judged.material_ids)[judged.targets.is_known].tolist()
    try:
        published = table.values(source.column, known_ids, Form.of(judged.targets.known.tolist()))
    except UserError as error:
        raise FaultError(str(error)) from error
    told = zip(judged.table["material_id"], judged.table["prediction"], strict=True)
    stored = {one: known(prediction) for one, prediction in told}
    if differ := [one for one in known_ids if stored.get(one) != published.get(one)]:
        yield f"{source.file_uri}: column {source.column} of {named(differ)} is not what was scored"
    if (missing := len(judged.unscored())) != source.num_without_prediction:
        yield (
            f"{missing} materials have a target and no prediction, the row says "
            f"{source.num_without_prediction}"
        )
