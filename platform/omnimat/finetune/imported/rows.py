"""Published predictions as rows, each with the file that it follows from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from omnimat.base.settings import identity
from omnimat.finetune.imported.form import Form
from omnimat.finetune.imported.judging import TEST, Judging, Part
from omnimat.finetune.imported.settings import ImportSettings
from omnimat.finetune.imported.table import PublishedTable
from omnimat.finetune.rows import score
from omnimat.leaderboard.imported import IMPORTED, Published
from omnimat.leaderboard.overlap import PretrainingOverlap
from omnimat.leaderboard.row import Row

_NAME_LENGTH = 16  # characters of a hash
_OVERLAP = PretrainingOverlap(run="", unknown="it was imported")


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A row, and the file of its predictions.

    Attributes:
        row: the row.
        predictions: the content of the file.
    """

    row: Row
    predictions: bytes


def make_rows(
    settings: ImportSettings,
    table: PublishedTable,
    judging: Judging,
    source: Published,
    common: Mapping[str, Any],
) -> Iterator[ImportedRow]:
    """Score each model on each board for which it predicts anything.

    Args:
        settings: what is imported.
        table: the file.
        judging: what judges.
        source: the file as rows tell it, but for the model.
        common: the fields of ``Row`` that tell data set and code.

    Raises:
        UserError: a prediction is nothing of the kind.
    """
    for column, model in settings.models.items():
        for part in judging.parts:
            predictions = _predicted(table, column, part)
            if predictions.empty:
                continue
            told = {
                "column": column,
                "citation": settings.citations.get(column, ""),
                "num_without_prediction": len(part.targets) - len(predictions),
            }
            config = {"source": IMPORTED, "tasks": [identity(settings.task)], **part.config}
            own = source.model_copy(update=told)
            yield _row(part, predictions, own, config, {**common, "model": model})


def _predicted(table: PublishedTable, column: str, part: Part) -> pd.DataFrame:
    """Lay out what a model predicts for the materials of a board, in the order of the data set.

    Returns:
        The columns ``material_id``, ``target``, ``prediction`` and ``split``.

    Raises:
        UserError: a prediction is nothing of the kind.
    """
    predictions = table.values(column, part.targets, Form.of(part.targets.values()))
    return pd.DataFrame(
        {
            "material_id": list(predictions),
            "target": [part.targets[one] for one in predictions],
            "prediction": list(predictions.values()),
            "split": TEST,
        }
    )


def _row(
    part: Part,
    predictions: pd.DataFrame,
    source: Published,
    config: Mapping[str, Any],
    common: Mapping[str, Any],
) -> ImportedRow:
    data = predictions.to_parquet(index=False)
    sha256 = hashlib.sha256(data).hexdigest()
    folder = source.file_uri.rpartition("/")[0]
    details = source.as_details() | _OVERLAP.as_details()
    row = score(part.task, predictions, details).row(
        config,
        **common,
        section=IMPORTED,
        variant=IMPORTED,
        seed=0,
        predictions_uri=f"{folder}/{sha256[:_NAME_LENGTH]}.parquet",
        predictions_sha256=sha256,
        run_name=f"{IMPORTED}-{source.file}",
    )
    return ImportedRow(row, data)
