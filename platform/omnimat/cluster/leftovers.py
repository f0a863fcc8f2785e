"""Placement groups that jobs which have ended still hold on a cluster.

If a driver is killed before the placement groups of its trials or workers are made, Ray 2.60 may
make them all the same. They then hold CPUs and GPUs until the cluster ends (Ray issue 54305).
"""

from __future__ import annotations

import ray
import requests
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.state import list_jobs, list_placement_groups
from ray.util.state.exception import RayStateApiException

_LIMIT = 10_000  # how much Ray's state API lists; its own default is 100
_ENDED = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})


def remove_leftovers() -> list[str]:
    """Remove the placement groups of drivers that have ended, but for detached ones.

    Returns:
        The ids of those that were removed. If the cluster's dashboard does not answer, none are,
        and a line on the terminal says so.
    """
    try:
        groups = list_placement_groups(
            filters=[("state", "!=", "REMOVED"), ("is_detached", "=", False)],
            limit=_LIMIT,
            detail=True,
        )
        jobs = list_jobs(limit=_LIMIT, detail=True)
    except (RayStateApiException, RuntimeError, requests.ConnectionError) as error:
        print(f"cannot find out what ended jobs still hold: {error}", flush=True)
        return []
    ended = {job.job_id for job in jobs if job.status in _ENDED}
    left = [group.placement_group_id for group in groups if group.creator_job_id in ended]
    for name in left:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(name))))
    return left
