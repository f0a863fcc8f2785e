"""What a run is expected to do, said before it trains by a driver that has no use for torch."""

from __future__ import annotations

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.training.forecast.forecast import machines_of, work_of
from omnimat.training.forecast.prediction import predict
from omnimat.training.forecast.rates import known_rates
from omnimat.training.plan import RunPlan


def expectation(plan: RunPlan, workspace: Workspace) -> str:
    """Say in a line how fast a run should be and what limits it, if its rates are known."""
    try:
        rates = known_rates(plan, workspace)
    except UserError as error:  # no reason not to train
        return f"expected speed: unknown; {error}"
    if rates is None:
        return "expected speed: unknown; omnimat plan measures what this job takes"
    expected = predict(rates, work_of(plan), machines_of(plan.settings))
    return (
        f"expected: {expected.samples_per_s:,.0f} samples/s, limited by {expected.bottleneck} "
        f"(workers could take {expected.workers_per_s:,.0f}, what feeds them gives "
        f"{expected.featurizers_per_s:,.0f}; as measured {rates.measured_at} on "
        f"{rates.measured_on})"
    )
