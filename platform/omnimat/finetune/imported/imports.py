"""Imports published predictions: reads the file, lets the data set judge, and writes rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from shlex import quote
from typing import Any

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import read_file, write_atomically
from omnimat.base.paths import absolute_path
from omnimat.base.provenance import code_commit
from omnimat.base.workspace import Workspace
from omnimat.finetune.imported.checks import check
from omnimat.finetune.imported.judging import read_judging
from omnimat.finetune.imported.report import report
from omnimat.finetune.imported.rows import ImportedRow, make_rows
from omnimat.finetune.imported.settings import ImportSettings
from omnimat.finetune.imported.table import read_table
from omnimat.leaderboard.imported import Published
from omnimat.leaderboard.replacement import refuse_other_result
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.shards.manifest import Manifest


def import_predictions(
    settings: ImportSettings, workspace: Workspace, board: LeaderboardStore
) -> list[str]:
    """Import a file; all rows are written, or none.

    Files of predictions, and a copy of the imported file, are named by their content, so that
    another import never changes what a row was proven by.

    Returns:
        Lines that tell what was used, what was not, and what was written.

    Raises:
        UserError: the file does not fit the data set or changed while it was read, or a checked
            row has another result.
    """
    path = UPath(absolute_path(settings.path, "FILE"))
    data = read_file(path)
    table = read_table(path, settings.id_column, settings.where, settings.columns)
    if read_file(path) != data:  # the copy and its hash would be of other predictions
        raise UserError(f"{path} changed while it was read; import it again when it is complete")
    judging = read_judging(workspace.dataset(settings.dataset), settings.task, settings.folds)
    num_targets = check(settings, table, judging)
    source = _source(settings, path, data, workspace)
    made = list(make_rows(settings, table, judging, source, _common(settings, workspace)))
    if not made:
        raise UserError(f"{path} predicts no material that has a target; nothing was imported")
    num_checked = _refuse_others(board, made)
    write_atomically(workspace.root / source.file_uri, data)
    for one in made:
        write_atomically(workspace.root / one.row.predictions_uri, one.predictions)
    board.upsert(one.row for one in made)
    lines = report(settings, table, judging, [one.row for one in made], num_targets)
    stay = (
        f"; {num_checked} of them were checked before and stay as they are" if num_checked else ""
    )
    verify = f"verify with: omnimat leaderboard verify --run {quote(made[0].row.run_name)}"
    return [*lines, f"wrote {len(made)} rows{stay}; {verify}"]


def _source(settings: ImportSettings, path: UPath, data: bytes, workspace: Workspace) -> Published:
    sha256 = hashlib.sha256(data).hexdigest()
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    copy = workspace.imported(sha256) / f"source{ending}"
    return Published(
        file=path.name,
        file_sha256=sha256,
        file_uri=workspace.files.name_of(copy),
        column=next(iter(settings.models)),
        id_column=settings.id_column,
        where=settings.where,
        licence=settings.licence,
        source_url=settings.source_url,
    )


def _common(settings: ImportSettings, workspace: Workspace) -> dict[str, Any]:
    folder = workspace.dataset(settings.dataset)
    manifest, (commit, is_dirty) = Manifest.load(folder), code_commit()
    return {
        "dataset": settings.dataset,
        "dataset_uri": workspace.files.name_of(folder),
        "dataset_fingerprint": manifest.dataset_fingerprint,
        "split_sha256": manifest.split_sha256,
        "code_commit": commit,
        "code_dirty": is_dirty,
    }


def _refuse_others(board: LeaderboardStore, made: Sequence[ImportedRow]) -> int:
    """Refuse, before anything is written, what the leaderboard would refuse; count what stays."""
    results = {one.row.row_id: one.row.result for one in made}
    checked = board.checked(sorted(results))
    for row in checked:
        refuse_other_result(row, results[row.row_id])
    return len(checked)
