"""The way from a job file to its output on Ray, through all the jobs that it needs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnimat.base.errors import UserError
from omnimat.job.job import Job, RunJob
from omnimat.job.load import load_as, load_tree


def checked(path: Path, overrides: Sequence[str] = ()) -> list[Job[Any]]:
    """Read a job file and all that it needs, in the order to run, and check them without Ray.

    Args:
        path: the job file.
        overrides: ``key.key=value`` for the named file.

    Raises:
        UserError: a job cannot be run as it is written.
    """
    jobs = load_tree(path, overrides)
    for place, job in enumerate(jobs):
        job.check()
        job.check_after(jobs[:place])
    return jobs


def run(path: Path, overrides: Sequence[str] = (), *, fresh: bool = False) -> None:
    """Run a job file, and before it the jobs that it needs whose output is missing.

    Args:
        path: the job file.
        overrides: ``key.key=value`` for the named file.
        fresh: begin the run of the named job anew, beside what is there; never those of the jobs
            that it needs.

    Raises:
        UserError: a job cannot be run as it is written.
        RunError: a job failed for a known reason.
    """
    if not os.environ.get("RAY_ADDRESS"):
        # A Ray of our own answers on loopback alone. Ray reads this when it is first imported.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    jobs = checked(path, overrides)
    if fresh and not isinstance(jobs[-1], RunJob):
        raise UserError(
            f"--fresh: {path} is of kind {jobs[-1].kind}, which makes no run; leave --fresh out, "
            "or give the file of a run"
        )
    for job in jobs:
        job.refuse_held()
        job.reach(fresh=fresh and job is jobs[-1])
    with _ray(jobs) as jobs_there:
        *needed, named = jobs_there
        for job in needed:
            job.run()
        named.run(is_asked_for=True, fresh=fresh)


@contextmanager
def _ray(jobs: list[Job[Any]]) -> Iterator[list[Job[Any]]]:
    """Be on a Ray if a job needs one, which has room for all; give the jobs as they run there."""
    if not any(job.needs_ray for job in jobs):
        yield jobs
        return
    from omnimat.cluster.capacity import Cluster
    from omnimat.cluster.session import session
    from omnimat.job.preflight import check_fits

    with session([name for job in jobs for name in job.imports]):
        cluster = Cluster.now()
        num_gpus, num_cpus = (cluster.amount(name, {}) for name in ("GPU", "CPU"))
        decided = [job.on_devices(num_gpus, num_cpus) for job in jobs]
        for job in decided:
            check_fits(job)
        yield decided


def train(path: Path, overrides: Sequence[str], *, fresh: bool) -> None:
    """Run a pretrain job as ``run`` does, and no job of another kind."""
    from omnimat.job.kinds.pretrain import PretrainJob

    load_as(PretrainJob, path, overrides)
    run(path, overrides, fresh=fresh)
