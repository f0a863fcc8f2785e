"""What a job would do on a cluster like this machine, for those who check or plan it without one.

Of GPUs nothing is said: to find them takes torch, for which a check does not wait.
"""

from __future__ import annotations

from typing import Any

from omnimat.base.process import num_cores
from omnimat.job.job import Job

_FEATURIZERS = "num_featurizers"


def left_open(job: Job[Any], num_cpus: float | None = None) -> list[str]:
    """Say how many featurizers ``auto`` comes to.

    Args:
        job: the job as it was read.
        num_cpus: CPUs of the cluster; None for those of this machine.
    """
    keys = [key for key in (_FEATURIZERS, f"stream.{_FEATURIZERS}") if _at(job, key) == "auto"]
    if not keys:
        return []
    there = job.on_devices(0, cpus(num_cpus))
    where = "as this machine has them" if num_cpus is None else "as --cores says"
    return [
        f"{key}: auto is {_at(there, key)} on a cluster of {cpus(num_cpus):g} CPUs, {where}"
        for key in keys
    ]


def cpus(num_cpus: float | None) -> float:
    """Count the CPUs of a cluster; None for those of this machine that a process may use."""
    return float(num_cores()) if num_cpus is None else num_cpus


def _at(job: Job[Any], key: str) -> Any:
    value: Any = job.settings
    for name in key.split("."):
        value = getattr(value, name, None)
    return value
