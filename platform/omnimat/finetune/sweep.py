"""A sweep: Ray Tune runs trials, validation chooses among them, the test split is scored once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from upath import UPath

from omnimat.base.checked_json import write_checked_json
from omnimat.base.files import write_atomically
from omnimat.base.lease import Fence
from omnimat.base.workspace import RESULT, Workspace
from omnimat.cluster.metrics import RayMetrics, leaderboard_write
from omnimat.finetune.plan import make_plan
from omnimat.finetune.repeat import refuse_other_trials
from omnimat.finetune.rows import (
    best_points,
    make_row,
    selected,
    sweep_table,
    trials_table,
)
from omnimat.finetune.scoring import Seen, ensemble_rows, score_trials
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial_settings import Contender, Point
from omnimat.finetune.tuning import judged, run_trials
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.models.inputs import read_cards
from omnimat.stream.featurize import write_store

# A job's output is no terminal, so rich would wrap at 80 characters.
TABLE_WIDTH = 180


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
        A row of each task for every fold, variant, fraction of the training split and seed, and
        then those of the means over seeds, if the settings ask for them.

    Raises:
        UserError: if the data set or the export is missing, or a split has no record for a task.
        SweepError: if a trial failed or the sweep was interrupted.
        LostError: another process has taken the run over.
    """
    start_s = time.perf_counter()
    run, check_held = fence.folder, fence.check
    cards = read_cards(workspace.run(settings.run))
    seen = Seen.of(settings, cards, workspace)
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
        scored = score_trials(plan, selected(results, chosen), settings, fence, seen)
        for told in dict.fromkeys(found.sentence for one in scored for found in one.overlaps):
            print(f"{name}: {told}", flush=True)
        files = workspace.files
        rows = [make_row(name, settings, plan, cards, one, files) for one in scored]
        if settings.ensemble:
            pairs = list(zip(scored, rows, strict=True))
            rows += ensemble_rows(plan, settings, fence, pairs, files)
        check_held()
        with leaderboard_write(watch, len(rows)):
            board.upsert(rows)
    check_held()
    _write_result(run, name, settings, chosen, rows, time.perf_counter() - start_s)
    for store in plan.stores:
        store.losses().say(name)
    return rows


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
