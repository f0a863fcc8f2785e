"""What jobs that have ended still hold on a cluster.

Ray 2.60 does not always notice that a driver was killed before the placement groups of its trials
and workers are made; these then hold CPUs and GPUs until the cluster ends (ray issue 54305).
"""

from __future__ import annotations

import ray
import requests
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.state import list_jobs, list_placement_groups
from ray.util.state.exception import RayStateApiException

_LIMIT = 10_000  # of what Ray's state API lists; its own default is 100
_ENDED = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})


def remove_leftovers() -> list[str]:
    """Remove the placement groups of drivers that have ended; detached ones are kept.

    Returns:
        Their ids; of a cluster whose dashboard does not answer none, and a line says so.
    """
    try:
        groups = list_placement_groups(
            filters=[("state", "!=", "REMOVED"), ("is_detached", "=", False)],
            limit=_LIMIT,
            detail=True,
        )
        jobs = list_jobs(limit=_LIMIT, detail=True)
    except (RayStateApiException, RuntimeError, requests.ConnectionError) as error:
        print(f"what ended jobs still hold was not looked for: {error}", flush=True)
        return []
    ended = {job.job_id for job in jobs if job.status in _ENDED}
    left = [group.placement_group_id for group in groups if group.creator_job_id in ended]
    for name in left:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(name))))
    return left
