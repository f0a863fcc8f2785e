"""The way from a job file to what ``omnimat plan`` forecasts of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from omnimat.base.errors import UserError
from omnimat.job.here import cpus, left_open
from omnimat.job.kinds.predict import PredictJob
from omnimat.job.kinds.pretrain import PretrainJob
from omnimat.job.load import load
from omnimat.training.forecast.request import Request


@dataclass(frozen=True)
class Told:
    """A forecast for people and for programs.

    Attributes:
        table: what is shown.
        content: the same as values that JSON can hold, a row each.
        assumptions: sentences that say what it rests on.
    """

    table: Table
    content: list[dict[str, Any]]
    assumptions: list[str]


def forecast(path: Path, overrides: Sequence[str], request: Request) -> Told:
    """Forecast a pretrain job (``training.forecast``) or one that applies a model (``prediction``).

    Raises:
        UserError: the job cannot be run as it is, or not be forecast.
    """
    job = load(path, overrides)
    if isinstance(job, PretrainJob):
        return _of_pretrain(job, request)
    if isinstance(job, PredictJob):
        return _of_predict(job, request)
    raise UserError(
        f"{path}: kind {job.kind} is not forecast; give a job of kind pretrain, predict or index"
    )


def _of_pretrain(job: PretrainJob, request: Request) -> Told:
    from omnimat.training.forecast.forecast import as_json, table
    from omnimat.training.forecast.request import answer, settled

    job = job.with_settings(settled(job.settings, request))
    lines = left_open(job, request.num_cores)
    job = job.on_devices(0, cpus(request.num_cores)).prepared()
    rows, assumptions = answer(job.plan, job.workspace, request)
    return Told(table(rows), [as_json(row) for row in rows], lines + assumptions)


def _of_predict(job: PredictJob, request: Request) -> Told:
    from omnimat.prediction.forecast import assumptions, forecast, table
    from omnimat.prediction.plan import make_plan

    lines = left_open(job, request.num_cores)
    settings = job.settings.with_featurizers(job.free_cpus(cpus(request.num_cores)))
    found = forecast(settings, make_plan(settings, job.workspace), request)
    lines += assumptions(found, request)
    return Told(table(found, request), [found.as_json(request)], lines)
