"""A sweep: Ray Tune runs trials, validation chooses among them, the test split is scored once."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import ray
from ray.exceptions import RayError
from rich.console import Console
from upath import UPath

from omnimat.base.checked_json import write_checked_json
from omnimat.base.files import write_atomically
from omnimat.base.lease import Fence
from omnimat.base.workspace import RESULT, Workspace
from omnimat.cluster.metrics import RayMetrics, leaderboard_write
from omnimat.cluster.tasks import explained
from omnimat.evaluation.leakage import FoundOverlap, find_leakage, refuse_inputs
from omnimat.evaluation.overlap import Overlap
from omnimat.finetune.judging import Transfer, judging
from omnimat.finetune.outcome import TrialResult, trial_folder
from omnimat.finetune.plan import TrialPlan, make_plan
from omnimat.finetune.repeat import refuse_other_trials
from omnimat.finetune.rows import (
    Scored,
    best_points,
    make_row,
    selected,
    sweep_table,
    trials_table,
)
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial import predict
from omnimat.finetune.trial_settings import Contender, Point
from omnimat.finetune.tuning import judged, run_trials
from omnimat.leaderboard.overlap import AnyOverlap
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.materials.split import Split
from omnimat.models.export import Card
from omnimat.models.inputs import featurizers_of, read_cards
from omnimat.stream.featurize import write_store

# A job's output is no terminal, so rich would wrap at 80 characters.
TABLE_WIDTH = 180

_NUM_TRIES = 3  # of predicting a split


def run_sweep(
    name: str,
    settings: FinetuneSettings,
    workspace: Workspace,
    fence: Fence,
    leaderboard_url: str | None = None,
) -> list[Row]:
    """Run a sweep on the connected Ray cluster; run again, it continues.

    In the run's folder it leaves ``trials/``, ``trials.parquet`` and ``predictions/``. The rows
    are written in one transaction, and ``result.json`` last.

    Args:
        name: the name of this run.
        settings: its settings.
        workspace: where the data set and the pretraining run are.
        fence: the run's folder and its lease; it is sent to the trials.
        leaderboard_url: the URL of the leaderboard for SQLAlchemy; None for the workspace's own.

    Returns:
        A row of each task for every fold, variant, fraction of the training split and seed.

    Raises:
        UserError: if the data set or the export is missing, or a split has no record for a task.
        SweepError: if a trial failed or the sweep was interrupted.
        LostError: another process has taken the run over.
    """
    start_s = time.perf_counter()
    run, check_held = fence.folder, fence.check
    cards = read_cards(workspace.run(settings.run))
    seen = _seen(settings, cards, workspace)
    plan = make_plan(settings, workspace, cards)
    for store in plan.stores:
        write_store(
            store,
            num_featurizers=settings.num_featurizer_actors,
            num_cpus=settings.featurizer_num_cpus,
            max_quarantined=settings.max_quarantined,
        )
    plan.check_splits(settings.each_fold())
    board = LeaderboardStore(leaderboard_url or workspace.leaderboard_url)
    refuse_other_trials(board, settings, plan, cards, workspace.files)
    with RayMetrics(name) as watch:
        results = run_trials(plan, settings, run, watch, check_held)
        chosen = best_points(judged(settings, results))
        table = trials_table(results, settings.tasks).to_parquet(index=False)
        check_held()
        write_atomically(run / "trials.parquet", table)
        Console(width=TABLE_WIDTH).print(sweep_table(results, settings.tasks, chosen))
        scored = _score(plan, selected(results, chosen), settings, fence, seen)
        for told in dict.fromkeys(found.sentence for one in scored for found in one.overlaps):
            print(f"{name}: {told}", flush=True)
        rows = [make_row(name, settings, plan, cards, one, workspace.files) for one in scored]
        check_held()
        with leaderboard_write(watch, len(rows)):
            board.upsert(rows)
    check_held()
    _write_result(run, name, settings, chosen, rows, time.perf_counter() - start_s)
    for store in plan.stores:
        store.losses().say(name)
    return rows


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the trials of a sweep have seen before of what judges them.

    Attributes:
        in_pretraining: by the encoders; None where no trial starts from pretrained ones.
        in_training: by the trials themselves, where another data set judges.
    """

    in_pretraining: FoundOverlap | None = None
    in_training: tuple[Transfer, Overlap] | None = None

    def of(
        self, result: TrialResult, tested: Collection[str], validating: Collection[str]
    ) -> tuple[AnyOverlap, ...]:
        """Give what the row of a trial tells."""
        found: list[AnyOverlap] = []
        parts: dict[Split, Collection[str]] = {"test": tested}
        if self.in_training is None:
            parts["validation"] = validating
        else:
            transfer, overlap = self.in_training
            found.append(transfer.of_tested(overlap, tested))
        if self.in_pretraining is not None and result.settings.variant != "from_scratch":
            found.append(self.in_pretraining.of_parts(parts))
        return tuple(found)


def _seen(settings: FinetuneSettings, cards: Mapping[str, Card], workspace: Workspace) -> _Seen:
    """Refuse what must not be judged, and find out what of the rest was seen before.

    Raises:
        UserError: the model's inputs or its pretraining have shown what is predicted.
    """
    in_pretraining, in_training = None, None
    if settings.is_from_scratch:
        refuse_inputs(featurizers_of(cards), settings.judged)
    else:
        in_pretraining = find_leakage(workspace, settings.run, cards, judging(settings, workspace))
    if settings.test_dataset is not None:
        transfer = Transfer.of(settings, workspace)
        in_training = (transfer, transfer.overlap(workspace))
    return _Seen(in_pretraining, in_training)


def _score(
    plan: TrialPlan,
    trials: Sequence[TrialResult],
    settings: FinetuneSettings,
    fence: Fence,
    seen: _Seen,
) -> list[Scored]:
    """Predict the test split, which nothing else reads, with all chosen trials in parallel."""
    folders = [trial_folder(fence.folder, result.settings) for result in trials]
    predicted = _predicted(plan, trials, folders, settings)
    num_folds = 0 if settings.folds is None else plan.num_folds(settings.folds)
    validating = {fold: plan.material_ids("validation", fold) for fold in settings.each_fold()}
    scored = []
    for result, folder, by_task in zip(trials, folders, predicted, strict=True):
        for one in plan.tasks:
            path = fence.folder / "predictions" / one.slug / f"{result.settings.name}.parquet"
            fence.check()
            write_atomically(path, by_task[one.name].to_parquet(index=False))
            table = by_task[one.name]
            tested = table["material_id"].tolist()
            overlaps = seen.of(result, tested, validating[result.settings.fold])
            scored.append(Scored(one, result, folder, table, path, num_folds, overlaps))
    return scored


def _predicted(
    plan: TrialPlan,
    trials: Sequence[TrialResult],
    folders: Sequence[UPath],
    settings: FinetuneSettings,
) -> list[dict[str, pd.DataFrame]]:
    """Predict the test split with each trial, by task, on the cluster."""
    resources = settings.trial_resources
    task = ray.remote(predict).options(
        num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0), max_retries=_NUM_TRIES - 1
    )
    running = [
        task.remote(plan, result, folder, "test")
        for result, folder in zip(trials, folders, strict=True)
    ]
    try:
        predicted: list[dict[str, pd.DataFrame]] = ray.get(running)
    except RayError as error:
        raise explained(error, _NUM_TRIES) from None
    return predicted


def _write_result(
    run: UPath,
    name: str,
    settings: FinetuneSettings,
    chosen: Mapping[Contender, Point],
    rows: Sequence[Row],
    wall_time_s: float,
) -> None:
    result = {
        "name": name,
        "settings": settings.model_dump(mode="json"),
        "config_hash": settings.fingerprint(),
        "chosen": [
            {key: value for key, value in contender._asdict().items() if value is not None}
            | dict(point)
            for contender, point in chosen.items()
        ],
        "rows": [row.model_dump(mode="json") for row in rows],
        "wall_time_s": round(wall_time_s, 1),
    }
    write_checked_json(run / RESULT, result)
