"""What a job says of itself as gauges of Ray, which the agent of each node shows to Prometheus.

Every room names its quantities and hands them over; the dashboards and alerts that read them are in
``dashboards/observability``.

=============================  =====================================================================
of a pretraining run           all that ``training.meter`` tells
``featurized_records``         in the feature store so far, or of a prediction in its parts, of
                               those ``records_to_featurize``
``quarantined_records``        so far, that came without some modality for a fault; also of a
                               pretraining run
``ingested_records``           in shards so far
``refused_records``            of the source so far, each listed in the data set's failures
``shards_left``                that the ingest has not written yet
``trials_<state>``             of this start of a sweep: ``pending``, ``running``, ``finished``,
                               ``stopped`` early, ``failed``
``best_validation_error``      of the trials that have finished, as ``finetune.fit`` explains it
``leaderboard_rows_written``   by the job
``leaderboard_rows_refused``   that the job could not write; it then fails
=============================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Self

from ray.util.metrics import Gauge

REPEATED_EVERY_S = 5.0  # of the ten seconds between Ray's reports

Watcher = Callable[[Mapping[str, float]], None]


class RayMetrics:
    """Watches a job: ``ray_omnimat_<quantity>`` of each quantity it is told, tagged with the job.

    A quantity ``loss/<pair>`` is ``ray_omnimat_pair_loss``, tagged with the pair too. Counts are
    gauges as well: they are the job's, and go on from where it was stopped; a counter would stay
    for as long as the cluster does.

    Ray passes a value on once, and its agents forget it two ``RAY_metrics_report_interval_ms``
    later. As a context, this repeats the last values until it is left: a series that Prometheus
    still sees is a job that lives, however rarely it has something new to tell.
    """

    def __init__(self, run: str) -> None:
        """Watch a job.

        Args:
            run: name of the run, or of the data set that is made.
        """
        self._run = run
        self._gauges: dict[str, Gauge] = {}
        self._told: dict[str, float] = {}
        self._lock = Lock()
        self._is_left = Event()
        self._repeater = Thread(target=self._repeat, name="ray-metrics", daemon=True)

    def __enter__(self) -> Self:
        self._repeater.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left.set()
        self._repeater.join()

    def __reduce__(self) -> tuple[type[RayMetrics], tuple[str]]:
        """Pickle the name alone: Ray Tune writes its callbacks to disk, with all they hold."""
        return RayMetrics, (self._run,)

    def __call__(self, metrics: Mapping[str, float]) -> None:
        """Show quantities."""
        with self._lock:
            self._told |= metrics
            self._show(metrics)

    def _repeat(self) -> None:
        while not self._is_left.wait(REPEATED_EVERY_S):
            with self._lock:
                self._show(self._told)

    def _show(self, metrics: Mapping[str, float]) -> None:
        for key, value in metrics.items():
            quantity, _, pair = key.partition("/")
            tags = {"run": self._run} | ({"pair": pair} if pair else {})
            name = f"omnimat_pair_{quantity}" if pair else f"omnimat_{quantity}"
            if name not in self._gauges:
                self._gauges[name] = Gauge(name, f"{quantity} of an omnimat job", tuple(tags))
            self._gauges[name].set(value, tags)


@contextmanager
def leaderboard_write(watch: Watcher, num_rows: int) -> Iterator[None]:
    """Tell whether what happens inside has written rows to the leaderboard, all or none."""
    try:
        yield
    except Exception:
        watch({"leaderboard_rows_written": 0, "leaderboard_rows_refused": num_rows})
        raise
    watch({"leaderboard_rows_written": num_rows, "leaderboard_rows_refused": 0})
