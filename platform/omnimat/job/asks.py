"""What of a job has to run at once for it to make progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from omnimat.job.spec import (
    EvaluateJob,
    FeaturizeJob,
    FinetuneJob,
    IngestJob,
    JobHeader,
    PretrainJob,
)
from omnimat.stream.settings import FEATURIZER_NODES


@dataclass(frozen=True)
class Ask:
    """Processes of one kind.

    Attributes:
        who: they are.
        key: of the job file, that asks for them.
        count: of them.
        each: amount of each resource that one takes.
        labels: of the nodes they run on, where some carry these.
    """

    who: str
    key: str
    count: int
    each: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


Phase = tuple[Ask, ...]
"""What runs at the same time; a job's phases follow each other."""


def phases(job: JobHeader, num_workers: int | None = None) -> tuple[Phase, ...]:
    """Give what must run at once, phase by phase; nothing for kinds that only call others.

    Args:
        job: of any kind.
        num_workers: of a pretrain job; None for the fewest with which it makes progress.
    """
    if isinstance(job, IngestJob):
        return ((Ask("ingest tasks", "num_cpus_per_task", 1, {"CPU": job.num_cpus_per_task}),),)
    if isinstance(job, PretrainJob):
        return _of_training(job, num_workers or job.training.world_sizes[0])
    if isinstance(job, FinetuneJob):
        trials = Ask("trials", "cpus_per_trial and gpus_per_trial", 1, job.trial_resources)
        return ((_featurizers(job),), (trials,))
    if isinstance(job, EvaluateJob | FeaturizeJob):
        return ((_featurizers(job),),)
    return ()


def _of_training(job: PretrainJob, num_workers: int) -> tuple[Phase, ...]:
    training, stream = job.training, job.stream
    workers = Ask(
        "trainers",
        "training.num_workers",
        num_workers,
        training.worker_resources,
        training.worker_labels,
    )
    featurizer = {"CPU": stream.featurizer_num_cpus}
    labels = stream.featurizer_label_selector
    if stream.read_from == "store":  # whose featurizers run before the workers
        first = Ask(
            "featurizers", "stream.num_featurizers", stream.num_featurizers, featurizer, labels
        )
        reader = {"CPU": stream.reader_num_cpus}
        return ((first,), (workers, Ask("readers", "their readers", num_workers, reader)))
    number = num_workers * stream.num_featurizers
    return ((workers, Ask("featurizers", "their featurizers", number, featurizer, labels)),)


def _featurizers(job: FinetuneJob | EvaluateJob | FeaturizeJob) -> Ask:
    each = {"CPU": job.featurizer_num_cpus}
    return Ask("featurizers", "num_featurizers", job.num_featurizers, each, FEATURIZER_NODES)
