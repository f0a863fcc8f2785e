"""What an import tells: what of the file was used, what was not, and what the models lack."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from omnimat.finetune.imported.judging import Judging
from omnimat.finetune.imported.settings import ImportSettings
from omnimat.finetune.imported.table import PublishedTable
from omnimat.leaderboard.imported import published_in
from omnimat.leaderboard.row import Row


def report(
    settings: ImportSettings,
    table: PublishedTable,
    judging: Judging,
    rows: Sequence[Row],
    num_targets: int,
) -> list[str]:
    """Give the lines.

    Args:
        settings: what was imported.
        table: the file.
        judging: what judges.
        rows: the rows that were made.
        num_targets: how many targets of the file were compared with those of the data set.
    """
    of = f"of data set {settings.dataset}"
    judged, there = judging.targets, table.places.keys()
    taken = [f"{table.num_rows:,} rows"]
    taken += [f"{table.num_left_out:,} of them not asked for"] if table.num_left_out else []
    taken += [f"{table.num_without_id:,} without an id"] if table.num_without_id else []
    lines = [", ".join(taken)]
    if strangers := there - judging.material_ids:
        lines.append(f"{_named(strangers)} not in data set {settings.dataset}")
    if others := (there & judging.material_ids) - judged.keys():
        which = "fold" if settings.folds else "test split"
        lines.append(f"{_named(others)} {of} in no {which}, or without a target")
    if settings.target_column is None:
        lines.append("no --target-column, so targets are not compared with those of the data set")
    else:
        lines.append(f"{num_targets:,} of {len(judged):,} targets {of} compared, and the same")
    lines += _of_models(settings, rows, len(judging.parts))
    return [f"{table.name}: {line}" for line in lines]


def _of_models(settings: ImportSettings, rows: Sequence[Row], num_parts: int) -> Iterator[str]:
    for column, model in settings.models.items():
        own = [row for row in rows if row.model == model]
        num_materials = sum(row.num_test for row in own)
        told = [one for row in own if (one := published_in(row.details)) is not None]
        missing = sum(one.num_without_prediction for one in told)
        lacks = f"; {missing:,} have a target and no prediction" if missing else ""
        if empty := num_parts - len(own):
            lacks += f"; no prediction at all for {empty} of {num_parts} folds"
        boards = f"{len(own)} row{'s' * (len(own) != 1)}"
        yield f"{model}, column {column}: {boards} over {num_materials:,} materials{lacks}"


def _named(ids: Collection[str]) -> str:
    """Count ids and name the first."""
    return f"{len(ids):,} material{'s' * (len(ids) != 1)} ({min(ids)}{', ...' * (len(ids) > 1)})"
