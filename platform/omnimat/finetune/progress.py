"""How far a sweep is: one line a trial that ended, with the time left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from omnimat.finetune.fit import validation_key
from omnimat.finetune.tasks import TaskSettings
from omnimat.materials.duration import duration


class Progress:
    """Counts trials; the time left supposes that the others take as long as these did."""

    def __init__(self, num_trials: int) -> None:
        self._num_trials = num_trials
        self._num_ended = 0
        self._start_s = time.perf_counter()

    def ended(
        self, name: str, last: Mapping[str, Any], tasks: Sequence[TaskSettings], has_finished: bool
    ) -> None:
        """Print what a trial reached in its last epoch.

        Args:
            name: of the trial.
            last: entry of its history, with Tune's own ``time_total_s``.
            tasks: it predicts.
            has_finished: or was stopped early.
        """
        self._num_ended += 1
        scores = ", ".join(
            f"{task.name} {task.metric_name} {last[validation_key(task)]:.4g} {task.unit}".rstrip()
            for task in tasks
        )
        how = "after" if has_finished else "stopped early, after"
        print(
            f"trial {self._num_ended}/{self._num_trials} {name}: validation {scores} {how} "
            f"{last['epoch']:.0f} epochs, {duration(last['time_total_s'])}{self._left()}",
            flush=True,
        )

    def _left(self) -> str:
        num_left = self._num_trials - self._num_ended
        if not num_left:
            return ""
        passed_s = time.perf_counter() - self._start_s
        return f"; about {duration(round(passed_s / self._num_ended * num_left))} left"
