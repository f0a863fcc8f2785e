"""A pretraining run on a Ray cluster, from the driver's side."""

from __future__ import annotations

import time
from typing import Any

from omnimat.base.lease import Fence
from omnimat.stream.featurize import write_store
from omnimat.training.plan import RunPlan
from omnimat.training.ray_launcher import fit


def pretrain(plan: RunPlan, fence: Fence) -> dict[str, Any]:
    """Train to the end of a plan, and leave the export and ``result.json`` in the run's folder.

    A feature store that the plan reads is filled first, if it is not complete.

    Args:
        plan: plan of the run.
        fence: the run's folder and its lease.

    Returns:
        The content of ``result.json``.

    Raises:
        RunError: training failed for a known reason, or another process has taken the run over.
    """
    start_s = time.perf_counter()
    if plan.store is not None:
        write_store(
            plan.store,
            num_featurizers=plan.settings.stream.num_featurizer_actors,
            num_cpus=plan.settings.stream.featurizer_num_cpus,
            max_quarantined=1.0,  # of all records; those that are trained on are counted below
            label_selector=plan.settings.stream.featurizer_label_selector,
        )
    plan.check_store()
    fit(plan, fence)
    from omnimat.training.result import finish  # torch, for which no training needs to wait

    return finish(plan, fence, time.perf_counter() - start_s)
