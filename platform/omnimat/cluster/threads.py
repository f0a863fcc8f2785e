"""How many threads a process computes with that shares its machine with nothing else of a job."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Literal

import torch
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from threadpoolctl import threadpool_limits

from omnimat.base.process import num_cores

OMP_NUM_THREADS = "OMP_NUM_THREADS"


def use_threads(num_threads: int | Literal["auto"]) -> None:
    """Set how many threads torch and NumPy use in this process from now on.

    Args:
        num_threads: how many. ``auto`` leaves it to them: they take the cores that a process may
            use, or ``OMP_NUM_THREADS``. If Ray alone has set that to one, it is all cores.
    """
    if num_threads == "auto":
        if not is_bound_by_ray(os.environ):
            return
        num_threads = num_cores()
    torch.set_num_threads(num_threads)
    threadpool_limits(num_threads, user_api="blas")


def is_bound_by_ray(environment: Mapping[str, str]) -> bool:
    """Say whether Ray has set ``OMP_NUM_THREADS`` to one, which nobody asked for.

    The driver of a submitted job gets it from the actor that starts it, unless CPUs are reserved
    for the driver.
    """
    if environment.get(OMP_NUM_THREADS) != "1" or RAY_JOB_CONFIG_JSON_ENV_VAR not in environment:
        return False
    config: Mapping[str, Any] = json.loads(environment[RAY_JOB_CONFIG_JSON_ENV_VAR])
    asked = (config.get("runtime_env") or {}).get("env_vars") or {}
    return OMP_NUM_THREADS not in asked
