"""Where things are kept: data sets, feature stores, runs and the leaderboard under one root."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.filesystem import is_local
from omnimat.base.paths import expanded_path

STORAGE_VARIABLE = "OMNIMAT_STORAGE"
LEADERBOARD_VARIABLE = "OMNIMAT_LEADERBOARD"

_ATTEMPT = re.compile(r"([^@]+)(?:@([2-9]|[1-9][0-9]+))?")

# What a run leaves in its folder: its result, last of all; its history, while it goes on and at its
# end; its encoders; and the folder of a sweep's trials.
RESULT = "result.json"
METRICS = "metrics"
HISTORY = "metrics.parquet"
EXPORT = "export"
TRIALS = "trials"
# What a trial leaves in its own folder: its result, or that it was stopped early.
TRIAL = "trial.json"
STOPPED = "stopped.json"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Names under one root.

    Attributes:
        root: a folder or any fsspec URI.
        leaderboard: SQLAlchemy URL; None for a file in the root.
    """

    root: UPath
    leaderboard: str | None = None

    @classmethod
    def open(cls, storage_path: str | None = None, leaderboard_url: str | None = None) -> Workspace:
        """Use ``storage_path``, else ``$OMNIMAT_STORAGE``, else ``~/omnimat``.

        The leaderboard is ``leaderboard_url``, else ``$OMNIMAT_LEADERBOARD``, else a file there.
        """
        leaderboard = leaderboard_url or os.environ.get(LEADERBOARD_VARIABLE)
        written = storage_path or os.environ.get(STORAGE_VARIABLE) or "~/omnimat"
        return cls(expanded_path(written, "storage_path"), leaderboard)

    def dataset(self, name: str) -> UPath:
        """Shards and manifest of an ingested data set."""
        return self.root / "datasets" / name

    def features(self, dataset: str, fingerprint: str) -> UPath:
        """Feature store of a data set under one featurizer setting."""
        return self.root / "features" / f"{dataset}-{fingerprint}"

    def tokenizer(self, name: str) -> UPath:
        """JSON file of a tokenizer fitted on a data set."""
        return self.root / "tokenizers" / name / "tokenizer.json"

    def run(self, name: str) -> UPath:
        """Everything a pretraining, sweep or evaluation run leaves: its newest attempt.

        The first attempt lies in a folder of the run's name, the others in ``<name>@2``, ...;
        none is ever moved, so what points into one stays right.
        """
        return max(self._attempts(name).items(), default=(1, self.root / "runs" / name))[1]

    def next_attempt(self, name: str) -> UPath:
        """Name the folder of an attempt that is not there yet."""
        return self.root / "runs" / f"{name}@{max(self._attempts(name), default=1) + 1}"

    def _attempts(self, name: str) -> dict[int, UPath]:
        """Give the folders of a run's second and later attempts by number."""
        folders = (self.root / "runs").glob(f"{name}@*")
        attempts = ((attempt_of(folder.name), folder) for folder in folders)
        return {attempt[1]: folder for attempt, folder in attempts if attempt}

    @property
    def leaderboard_url(self) -> str:
        """SQLAlchemy URL of the leaderboard.

        Raises:
            UserError: if none was given and the root is no local folder; SQLite needs one.
        """
        if self.leaderboard is not None:
            return self.leaderboard
        if not is_local(self.root):
            raise UserError(
                f"storage_path {self.root} is no local folder: set "
                "leaderboard_url to that of a PostgreSQL database, or of an SQLite file"
            )
        return f"sqlite:///{UPath(self.root.path) / 'leaderboard.sqlite'}"


def attempt_of(folder: str) -> tuple[str, int] | None:
    """Give the run and the number of the attempt that a folder's name says.

    Returns:
        None if it is the name of no attempt, as of a copy that somebody has called ``run@backup``.
    """
    match = _ATTEMPT.fullmatch(folder)
    return (match[1], int(match[2] or 1)) if match else None
