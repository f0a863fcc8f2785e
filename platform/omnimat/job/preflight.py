"""Whether the cluster can ever hold a job, asked before it starts: Ray itself waits forever."""

from __future__ import annotations

from collections.abc import Mapping

import ray
from ray._private.state import state

from omnimat.job.spec import (
    EvaluateJob,
    FeaturizeJob,
    FinetuneJob,
    IngestJob,
    JobHeader,
    PretrainJob,
)
from omnimat.materials.errors import UserError


def check_fits(job: JobHeader) -> None:
    """Refuse a job that the cluster can never hold, autoscaling counted in.

    Raises:
        UserError: naming the resource, what is asked and what there is.
    """
    available = cluster_capacity()
    for resource, (asked, key) in demand(job).items():
        if asked > available.get(resource, 0.0) + 1e-6:
            raise UserError(
                f"{job.name}: {key} ask for {asked:g} {resource}, the cluster has "
                f"{available.get(resource, 0.0):g}; lower them or use a larger cluster"
            )


def demand(job: JobHeader) -> dict[str, tuple[float, str]]:
    """Give what must run at once for the job to make progress, and the keys that ask for it."""
    if isinstance(job, IngestJob):
        return {"CPU": (job.num_cpus_per_task, "num_cpus_per_task")}
    if isinstance(job, PretrainJob):
        return _demand_of_training(job)
    if isinstance(job, FinetuneJob):
        asked = {"CPU": max((job.cpus_per_trial, "cpus_per_trial"), _featurizers(job))}
        if job.gpus_per_trial:
            asked["GPU"] = (job.gpus_per_trial, "gpus_per_trial")
        return asked
    if isinstance(job, EvaluateJob | FeaturizeJob):
        return {"CPU": _featurizers(job)}
    return {}


def _demand_of_training(job: PretrainJob) -> dict[str, tuple[float, str]]:
    training, stream = job.training, job.stream
    cpus = training.num_workers * (training.cpus_per_worker + stream.num_cpus_per_worker())
    asked = {"CPU": (cpus, "training.num_workers with their readers and featurizers")}
    if stream.read_from == "store":  # whose featurizers run before the workers
        store = stream.num_featurizers * stream.featurizer_num_cpus
        asked["CPU"] = max(asked["CPU"], (store, "stream.num_featurizers"))
    if training.use_gpu:
        asked["GPU"] = (float(training.num_workers), "training.num_workers with use_gpu")
    return asked


def _featurizers(job: FinetuneJob | EvaluateJob | FeaturizeJob) -> tuple[float, str]:
    return job.num_featurizers * job.featurizer_num_cpus, "num_featurizers"


def cluster_capacity() -> Mapping[str, float]:
    """Give the resources the cluster has, or may grow to where an autoscaler runs."""
    now: Mapping[str, float] = ray.cluster_resources()
    largest = state.get_max_resources_from_cluster_config() or {}
    return {name: max(now.get(name, 0.0), largest.get(name, 0.0)) for name in {*now, *largest}}
