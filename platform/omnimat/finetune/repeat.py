"""A sweep whose results were checked before: it comes to the same, or is refused at once."""

from __future__ import annotations

import json
from collections.abc import Mapping

from omnimat.base.confined import Confined, beside
from omnimat.base.errors import RunError, UserError
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import TRIAL
from omnimat.finetune.ensemble import ensemble_id
from omnimat.finetune.plan import TrialPlan
from omnimat.finetune.rows import common_of, config_of
from omnimat.finetune.settings import FinetuneSettings
from omnimat.leaderboard.row import Row, row_id_of
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.models.export import Card

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, UserError, RunError)


def refuse_other_trials(
    board: LeaderboardStore,
    settings: FinetuneSettings,
    plan: TrialPlan,
    cards: Mapping[str, Card],
    storage: Confined,
) -> None:
    """Refuse, before any training, what the leaderboard would refuse after it.

    A checked row stays as it is. If it comes from other encoders, features or networks than this
    sweep has, its value cannot come out again. Otherwise it should, and a line says so.

    Raises:
        UserError: if a row under an id of this sweep was checked and comes from other trials.
    """
    num_folds = 0 if settings.folds is None else plan.num_folds(settings.folds)
    expected = sorted(expected_ids(settings, plan, cards, num_folds))
    known = board.checked(expected)
    for row in known:
        if _plan_of(row, storage) not in {None, plan.fingerprint}:
            raise UserError(
                f"row {row.row_id} ({row.label}) is {row.status}, and was made with other encoders "
                "or features than there are now, so that another result would not replace it; take "
                f"it off the board first with `omnimat leaderboard remove {row.row_id}`, or write "
                "to another leaderboard_url"
            )
    if known:
        print(
            f"{len(known)} of the {len(expected)} rows to come were checked before: they stay as "
            "they are, and are compared with what comes out",
            flush=True,
        )


def expected_ids(
    settings: FinetuneSettings, plan: TrialPlan, cards: Mapping[str, Card], num_folds: int
) -> set[str]:
    """Give the ids of the rows that a sweep will write, before anything is trained.

    Args:
        settings: the sweep.
        plan: what its trials share.
        cards: the encoders.
        num_folds: how many folds the data set has; 0 without folds.
    """
    ids = set()
    for trial in settings.trials():
        fold = None if trial.fold is None else trial.fold.counted(num_folds)
        config = config_of(settings, plan, cards, trial, fold)
        common = common_of(settings, plan, cards, trial) | {"config_hash": fingerprint(config)}
        for one in settings.tasks:
            task = one if fold is None else fold.task(one)
            values = common | {"task": task.name, "metric": task.metric_name}
            ids.add(row_id_of(values))
            if settings.ensemble and trial.seed == settings.seeds[0]:
                ids.add(ensemble_id(values, config, settings.seeds))
    return ids


def _plan_of(row: Row, storage: Confined) -> str | None:
    """Read the fingerprint of the plan of the trial that a row is of; None if it is gone."""
    try:
        trial = json.loads(storage.read(beside(row.checkpoint_uri, TRIAL), "checkpoint_uri"))
        return str(trial["plan_fingerprint"])
    except _UNREADABLE:
        return None
