"""The progress of a sweep: a line with the time left for each trial, and dashboard counts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from omnimat.base.duration import duration
from omnimat.cluster.metrics import Watcher
from omnimat.finetune.fit import validation_key
from omnimat.finetune.tasks import TaskSettings

State = Literal["running", "finished", "stopped", "failed"]


class Progress:
    """Counts trials; the time left assumes that the others take as long as those that ended."""

    def __init__(self, num_trials: int, watch: Watcher) -> None:
        self._num_trials = num_trials
        self._watch = watch
        self._states: dict[str, State] = {}
        self._best: dict[str, float] = {}
        self._start_s = time.perf_counter()

    def started(self, name: str) -> None:
        """Count a trial as running, also when it is tried again."""
        self._count(name, "running")

    def failed(self, name: str) -> None:
        """Count a trial that failed and is not tried again."""
        self._count(name, "failed")

    def ended(
        self,
        name: str,
        last: Mapping[str, Any],
        tasks: Sequence[TaskSettings],
        validation_error: float | None,
    ) -> None:
        """Print what a trial reached in its last epoch.

        Args:
            name: the name of the trial.
            last: the last entry of its history, with Tune's own ``time_total_s``.
            tasks: what it predicts.
            validation_error: that of its best epoch; None if it was stopped early.
        """
        if validation_error is not None:
            least = min([validation_error, *self._best.values()])
            self._best = {"best_validation_error": least}
        self._count(name, "stopped" if validation_error is None else "finished")
        scores = ", ".join(
            f"{task.name} {task.metric_name} {last[validation_key(task)]:.4g} "
            f"{task.error_unit}".rstrip()
            for task in tasks
        )
        how = "stopped early, after" if validation_error is None else "after"
        print(
            f"trial {self._num_ended}/{self._num_trials} {name}: validation {scores} {how} "
            f"{last['epoch']:.0f} epochs, {duration(last['time_total_s'])}{self._left()}",
            flush=True,
        )

    def _count(self, name: str, state: State) -> None:
        self._states[name] = state
        counts = Counter[str](self._states.values())
        counts["pending"] = self._num_trials - len(self._states)
        states = ("pending", "running", "finished", "stopped", "failed")
        self._watch({f"trials_{one}": counts[one] for one in states} | self._best)

    @property
    def _num_ended(self) -> int:
        return sum(state in {"finished", "stopped"} for state in self._states.values())

    def _left(self) -> str:
        num_left = self._num_trials - self._num_ended
        if not num_left:
            return ""
        passed_s = time.perf_counter() - self._start_s
        return f"; about {duration(round(passed_s / self._num_ended * num_left))} left"
