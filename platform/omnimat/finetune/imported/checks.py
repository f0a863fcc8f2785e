"""Whether a file of predictions speaks of the materials, folds and targets of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from omnimat.base.errors import UserError
from omnimat.finetune.imported.form import Form
from omnimat.finetune.imported.judging import Judging
from omnimat.finetune.imported.settings import ImportSettings
from omnimat.finetune.imported.table import PublishedTable
from omnimat.materials.values import class_of


def check(settings: ImportSettings, table: PublishedTable, judging: Judging) -> int:
    """Hold the file against the data set.

    Returns:
        How many targets were compared.

    Raises:
        UserError: no material is in both, or one has another fold or target in the file.
    """
    if table.places.keys().isdisjoint(judging.material_ids):
        theirs, ours = next(iter(table.places), ""), min(judging.material_ids)
        raise UserError(
            f"{table.name}: no id of column {settings.id_column!r}, such as {theirs!r}, is one of "
            f"data set {settings.dataset}, such as {ours!r}; name another column with --id-column"
        )
    if settings.fold_column is not None:
        _check_folds(settings.fold_column, settings.dataset, table, judging)
    if settings.target_column is None:
        return 0
    return _check_targets(settings.target_column, settings, table, judging)


def _check_folds(column: str, dataset: str, table: PublishedTable, judging: Judging) -> None:
    """Whoever was tested in another fold may have learned from what judges here."""
    for one, fold in judging.groups.items():
        told = table.cell(column, one) if one in table.places else fold
        if told is None or class_of(told) != fold:
            raise UserError(
                f"{table.name}: {one} is in fold {told} by column {column!r}, and in fold {fold} "
                f"of data set {dataset}; predictions of other folds cannot be compared with these"
            )


def _check_targets(
    column: str, settings: ImportSettings, table: PublishedTable, judging: Judging
) -> int:
    ours = judging.targets
    theirs = table.values(column, ours, Form.of(ours.values()))
    differ = [
        one for one, told in theirs.items() if _differ(told, ours[one], settings.target_tolerance)
    ]
    if differ:
        first, more = differ[0], f", and so of {len(differ) - 1} more" * (len(differ) > 1)
        raise UserError(
            f"{table.name}: the target of {first} is {theirs[first]} in column {column!r} and "
            f"{ours[first]} in data set {settings.dataset}{more}; choose the task of these "
            "targets, or set --target-tolerance if they were rounded"
        )
    return len(theirs)


def _differ(told: Any, ours: Any, tolerance: float) -> bool:
    if isinstance(ours, str):
        return bool(told != ours)
    return bool(np.max(np.abs(np.subtract(told, ours))) > tolerance)
