"""Where a job trains that leaves it open: one file for a laptop and for a cluster of GPUs."""

from __future__ import annotations

from typing import TypeVar

from omnimat.job.spec import FinetuneJob, JobHeader, PretrainJob

JobT = TypeVar("JobT", bound=JobHeader)


def on_devices(job: JobT, num_gpus: float) -> JobT:
    """Decide what is ``auto``: on GPUs where each of the fewest workers, or a trial, can have one.

    Args:
        job: of any kind.
        num_gpus: that the cluster has, or may grow to.
    """
    if isinstance(job, PretrainJob) and job.training.use_gpu == "auto":
        use_gpu = num_gpus >= job.training.world_sizes[0]
        training = job.training.model_copy(update={"use_gpu": use_gpu})
        return job.model_copy(update={"training": training})
    if isinstance(job, FinetuneJob) and job.gpus_per_trial == "auto":
        return job.model_copy(update={"gpus_per_trial": float(num_gpus >= 1)})
    return job
