"""What all kinds of job have in common, and the table of the kinds.

A kind of job is one class in one file of ``job/kinds``. On Ray, whichever command starts it, a job
takes the same steps from its file to its output:

1. It is read (``job.load``).
2. ``check`` and ``check_after`` find mistakes before any cluster is asked.
3. ``refuse_held`` makes sure that no other process does the same.
4. ``reach`` finds out whether the job can write where it will write at its end.
5. ``on_devices`` decides what the file leaves to the machines.
6. Its ``phases`` are held against what the cluster has (``job.preflight``).
7. ``run`` makes the output. A job whose output is a run is first ``prepared`` and then opens an
   ``attempt``, which may find that the run has finished.

Without Ray (``job.train``) a pretrain job takes fewer: it is read, decided ``on_devices``,
``prepared`` and given its ``attempt``.

Files of kinds import no Ray, no torch and no training loop at their top: whoever only reads or
checks a job file should not wait for these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

from upath import UPath

from omnimat.base.lease import Fence, Lease, take_over
from omnimat.base.registry import Registry
from omnimat.base.settings import Settings
from omnimat.base.workspace import RUNS, Workspace
from omnimat.job.asks import Phase, Room
from omnimat.job.attempt import is_complete, open_run
from omnimat.job.header import JobHeader

SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass(frozen=True)
class Job(ABC, Generic[SettingsT]):
    """A job file that was read.

    Attributes:
        kind: name of the kind in job files.
        settings_type: class of the settings.
        imports: modules that ``run`` needs; they are imported while Ray starts.
        header: the keys that every job file has.
        settings: all other keys of the file, as the room reads them that does the work.
    """

    kind: ClassVar[str]
    settings_type: ClassVar[type[Settings]]
    imports: ClassVar[tuple[str, ...]] = ()

    header: JobHeader
    settings: SettingsT

    @property
    def name(self) -> str:
        """Name of what the job makes."""
        return self.header.name

    @property
    def workspace(self) -> Workspace:
        """Where the job reads and writes."""
        return Workspace.open(self.header.storage_path, self.header.leaderboard_url)

    @property
    def needs(self) -> tuple[str, ...]:
        """Job files that have to run first, in this order."""
        return self.header.needs

    def with_settings(self, settings: SettingsT) -> Self:
        """Give the same job with other settings."""
        return replace(self, settings=settings)

    def phases(self, room: Room | None = None) -> tuple[Phase, ...]:
        """Give what must run at the same time, phase by phase.

        Args:
            room: what the cluster has room for, if the answer is to be how much a job asks for
                there that can do with more or less; None for the least.
        """
        del room
        return ()

    def on_devices(self, num_gpus: float, num_cpus: float = 1.0) -> Self:
        """Give the same job with every ``auto`` decided.

        Args:
            num_gpus: how many GPUs there are, or may come to be.
            num_cpus: how many logical CPUs there are, or may come to be.
        """
        del num_gpus, num_cpus
        return self

    def check(self) -> None:
        """Find mistakes without a cluster, as far as the data that the job reads is there already.

        Raises:
            UserError: the job cannot succeed as it is.
        """

    def check_after(self, needed: Sequence[Job[Any]]) -> None:
        """Find mistakes that show only beside the jobs that run before this one.

        Args:
            needed: those jobs, in the order to run; each has been checked.

        Raises:
            UserError: the job cannot succeed after them.
        """
        del needed

    @property
    def unfinished(self) -> UPath | None:
        """Folder on which the job alone works, if it still has something to do there."""
        return None

    @property
    def needs_ray(self) -> bool:
        """Whether the job runs on Ray, even if one has to be started for it."""
        return True

    def refuse_held(self) -> None:
        """Raise an error if another process does this job, before any cluster is asked.

        Raises:
            UserError: another process does; the message says which.
        """
        if self.unfinished is not None:
            take_over(self.unfinished, f"{self.kind} {self.name}")

    def reach(self, *, fresh: bool = False) -> None:
        """Reach what the job will need only at its end, before it or any other job begins.

        Args:
            fresh: whether a run is begun anew.

        Raises:
            UserError: it is out of reach.
        """
        del fresh

    def remarks(self, needed: Sequence[Job[Any]] = ()) -> list[str]:
        """Say in lines what a user who checks the job should know, though it is no mistake.

        Args:
            needed: the jobs that run before this one, in the order to run.
        """
        del needed
        return []

    @abstractmethod
    def run(self, *, is_asked_for: bool = False, fresh: bool = False) -> None:
        """Make the output on the connected cluster, unless it is there already.

        Args:
            is_asked_for: whether the user named this job, and not one that needs it.
            fresh: begin a run anew beside what is there; it concerns no other kinds.

        Raises:
            UserError: the job cannot be run as it is written.
            RunError: it failed for a known reason.
        """


class RunJob(Job[SettingsT]):
    """A job whose output is a run, which can go on, have finished, or be begun anew.

    Attributes:
        writes_rows: whether its results go to the leaderboard at its end.
        among: folder of the storage that holds all runs of its kind.
    """

    writes_rows: ClassVar[bool] = False
    among: ClassVar[str] = RUNS

    def reach(self, *, fresh: bool = False) -> None:
        """Open the leaderboard if rows will be written, and find out whether they may be."""
        if self.writes_rows and (fresh or self.unfinished is not None):
            from omnimat.leaderboard.store import LeaderboardStore

            LeaderboardStore(self.workspace.leaderboard_url).check_writable()

    def prepared(self) -> Self:
        """Give the same job, complete in itself and worked out as far as files alone allow.

        Raises:
            UserError: the job cannot succeed as it is.
        """
        return self

    @property
    def unfinished(self) -> UPath | None:
        """Folder of the run's newest attempt, unless it has finished."""
        run = self.workspace.run(self.name, self.among)
        return None if is_complete(run, self.settings) else run

    def attempt(self, *, fresh: bool) -> Lease | None:
        """Take the lease of the folder in which the run begins or goes on; None if it has finished.

        Raises:
            UserError: a run of this name has other settings, or another process works on it.
        """
        return open_run(self.name, self.settings, self.workspace, fresh=fresh, among=self.among)

    def run(self, *, is_asked_for: bool = False, fresh: bool = False) -> None:
        """Begin the run or go on with it; do nothing if it has finished."""
        from omnimat.job.preflight import placement

        del is_asked_for
        job = self.prepared()
        lease = job.attempt(fresh=fresh)
        if lease is not None:
            with lease:
                print("\n".join(placement(job)), flush=True)
                job.execute(lease.fence)

    @abstractmethod
    def execute(self, fence: Fence) -> None:
        """Do the work of the run on the connected cluster, in the folder that is leased."""


KINDS: Registry[type[Job[Any]]] = Registry(
    "omnimat.jobs",
    {
        "ingest": "omnimat.job.kinds.ingest:IngestJob",
        "tokenizer": "omnimat.job.kinds.tokenizer:TokenizerJob",
        "featurize": "omnimat.job.kinds.featurize:FeaturizeJob",
        "pretrain": "omnimat.job.kinds.pretrain:PretrainJob",
        "finetune": "omnimat.job.kinds.finetune:FinetuneJob",
        "evaluate": "omnimat.job.kinds.evaluate:EvaluateJob",
        "predict": "omnimat.job.kinds.predict:PredictJob",
        "index": "omnimat.job.kinds.index:IndexJob",
        "pipeline": "omnimat.job.kinds.pipeline:PipelineJob",
    },
)
"""Every kind of job by its name in job files."""
