"""The mean of the networks that differ only in their seed, as a result of its own.

It is what a packed model of these networks predicts. On the leaderboard it stands beside the
networks, and never among them: it costs as much as all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from omnimat.base.settings import fingerprint
from omnimat.finetune.rows import score
from omnimat.finetune.tasks import TaskSettings
from omnimat.leaderboard.members import BEST_EPOCH, ENSEMBLE, MEMBERS, Member
from omnimat.leaderboard.row import Row, row_id_of


def ensemble_row(
    rows: Sequence[Row],
    task: TaskSettings,
    predictions: pd.DataFrame,
    files: Mapping[str, str],
) -> Row:
    """Score the mean of several networks.

    Args:
        rows: the row of each network on the task, which differ in their seed.
        task: the task, with the name that it has in these rows.
        predictions: the columns ``target`` and ``prediction``.
        files: ``predictions_uri`` and ``predictions_sha256``.
    """
    first = rows[0]
    found = score(task, predictions)
    config = _config(first.config, [row.seed for row in rows])
    members = [Member.of(row).model_dump(mode="json") for row in rows]
    told = {key: value for key, value in first.details.items() if key not in found.details}
    chosen = {key: value for key, value in first.hyperparameters.items() if key != BEST_EPOCH}
    update = {
        "model": _model(first.model, len(rows)),
        "value": found.value,
        "section": ENSEMBLE,
        "config": config,
        "config_hash": fingerprint(config),
        "checkpoint_uri": "",
        "checkpoint_sha256": "",
        "hyperparameters": chosen,
        "details": {**told, **found.details, MEMBERS: members},
        "code_dirty": any(row.code_dirty for row in rows),
        "wall_time_s": round(sum(row.wall_time_s for row in rows), 2),
        "samples_seen": sum(row.samples_seen for row in rows),
        **files,
    }
    return Row.model_validate(first.model_dump() | update)


def ensemble_id(values: Mapping[str, Any], config: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """Give the id of the row of a mean before anything is trained.

    Args:
        values: what decides the id of the row of the first network.
        config: the configuration of that row.
        seeds: the seeds of the networks.
    """
    hashed = fingerprint(_config(config, seeds))
    model = _model(values["model"], len(seeds))
    return row_id_of({**values, "model": model, "config_hash": hashed})


def _config(config: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    return {**config, ENSEMBLE: list(seeds)}


def _model(name: str, num_members: int) -> str:
    return f"{name}, mean of {num_members} networks"
