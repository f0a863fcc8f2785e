"""A run's metrics as gauges of Ray, which the agent of each node shows to Prometheus."""

from __future__ import annotations

from dataclasses import dataclass, field

from ray.util.metrics import Gauge

from omnimat.training.history import Metrics


@dataclass(frozen=True)
class RayMetrics:
    """Watches a run: ``ray_omnimat_<key>`` of each metric, tagged with the run.

    The loss of a pair is ``ray_omnimat_pair_loss``, tagged with the pair too. Ray passes values on
    every ``RAY_metrics_report_interval_ms`` and forgets those of a run that has ended, so what was
    reported is in the run's history alone. Counts are gauges as well: they are the run's, and go
    on from the checkpoint where a worker is started again.

    Attributes:
        run: its name.
    """

    run: str
    _gauges: dict[str, Gauge] = field(default_factory=dict)

    def __call__(self, metrics: Metrics) -> None:
        """Show the metrics of a report."""
        for key, value in metrics.items():
            quantity, _, pair = key.partition("/")
            if pair:
                self._set(f"pair_{quantity}", value, {"run": self.run, "pair": pair})
            else:
                self._set(quantity, value, {"run": self.run})

    def _set(self, quantity: str, value: float, tags: dict[str, str]) -> None:
        if quantity not in self._gauges:
            description = f"{quantity} of an omnimat run"
            self._gauges[quantity] = Gauge(f"omnimat_{quantity}", description, tuple(tags))
        self._gauges[quantity].set(value, tags)
