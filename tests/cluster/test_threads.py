"""Processes that have a machine to themselves compute with all of it."""

import json

import pytest
import torch
from threadpoolctl import threadpool_info

from omnimat.cluster import threads
from omnimat.cluster.threads import OMP_NUM_THREADS, RAY_JOB_CONFIG_JSON_ENV_VAR, use_threads


@pytest.fixture
def _restored():
    before = torch.get_num_threads()
    yield
    use_threads(before)


def submitted(env_vars: dict[str, str] | None = None) -> dict[str, str]:
    """Give what the driver of a submitted job finds in its environment."""
    config = {"runtime_env": {} if env_vars is None else {"env_vars": env_vars}, "metadata": {}}
    return {RAY_JOB_CONFIG_JSON_ENV_VAR: json.dumps(config)}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({OMP_NUM_THREADS: "1", **submitted()}, 3),
        ({OMP_NUM_THREADS: "1", **submitted({"A": "b"})}, 3),
        ({OMP_NUM_THREADS: "1", **submitted({OMP_NUM_THREADS: "1"})}, 2),  # the user asked for it
        ({OMP_NUM_THREADS: "4", **submitted()}, 2),  # which CPUs of the driver have decided
        ({OMP_NUM_THREADS: "1"}, 2),
        ({}, 2),
    ],
)
@pytest.mark.usefixtures("_restored")
def test_a_submitted_driver_takes_all_cores_that_ray_leaves_idle(
    environment, expected, monkeypatch
):
    use_threads(2)
    for name in (OMP_NUM_THREADS, RAY_JOB_CONFIG_JSON_ENV_VAR):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(threads, "num_cores", lambda: 3)
    use_threads("auto")
    assert torch.get_num_threads() == expected
    of_blas = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    assert of_blas
    assert set(of_blas) == {expected}
