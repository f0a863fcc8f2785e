"""The way from a job file to what ``omnimat plan`` forecasts of its run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omnimat.job.kinds.pretrain import PretrainJob
from omnimat.job.load import load_as
from omnimat.training.forecast.forecast import Forecast
from omnimat.training.forecast.request import Request, answer, settled


def forecast(
    path: Path, overrides: Sequence[str], request: Request
) -> tuple[list[Forecast], list[str]]:
    """Forecast the run of a pretrain job; see ``training.forecast.request.answer``.

    Raises:
        UserError: the job cannot be run as it is, or not be forecast.
    """
    job = load_as(PretrainJob, path, overrides)
    job = job.with_settings(settled(job.settings, request)).prepared()
    return answer(job.plan, job.workspace, request)
