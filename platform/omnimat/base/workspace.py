"""Where data sets, feature stores, runs and the leaderboard are kept under a common root."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from upath import UPath

from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.base.filesystem import is_local
from omnimat.base.paths import expanded_path

STORAGE_VARIABLE = "OMNIMAT_STORAGE"
LEADERBOARD_VARIABLE = "OMNIMAT_LEADERBOARD"

_ATTEMPT = re.compile(r"([^@]+)(?:@([2-9]|[1-9][0-9]+))?")

DATASETS = "datasets"
RUNS = "runs"
PREDICTIONS = "predictions"
INDEXES = "indexes"
# What a run leaves in its folder: its result, which is written last, its history, during the run
# and at its end, its encoders, and the folder of a sweep's trials.
RESULT = "result.json"
METRICS = "metrics"
HISTORY = "metrics.parquet"
EXPORT = "export"
TRIALS = "trials"
# What a trial leaves in its own folder: its result, or a note that it was stopped early.
TRIAL = "trial.json"
STOPPED = "stopped.json"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The names of everything under a root.

    Attributes:
        root: a folder, or any URI of fsspec.
        leaderboard: SQLAlchemy URL of the leaderboard; None for a file in the root.
    """

    root: UPath
    leaderboard: str | None = None

    @classmethod
    def open(cls, storage_path: str | None = None, leaderboard_url: str | None = None) -> Workspace:
        """Open ``storage_path``, or else ``$OMNIMAT_STORAGE``, or else ``~/omnimat``.

        The leaderboard is ``leaderboard_url``, or else ``$OMNIMAT_LEADERBOARD``, or else a file
        there.
        """
        leaderboard = leaderboard_url or os.environ.get(LEADERBOARD_VARIABLE)
        written = storage_path or os.environ.get(STORAGE_VARIABLE) or "~/omnimat"
        return cls(expanded_path(written, "storage_path"), leaderboard)

    def dataset(self, name: str) -> UPath:
        """Return the folder with the shards and the manifest of a data set."""
        return self.root / DATASETS / name

    def features(self, dataset: str, fingerprint: str) -> UPath:
        """Return the folder of a feature store for a data set and certain featurizer settings."""
        return self.root / "features" / f"{dataset}-{fingerprint}"

    def overlap(self, fingerprint: str) -> UPath:
        """Return the JSON file that says which of some materials are among others."""
        return self.root / "overlaps" / f"{fingerprint}.json"

    def imported(self, sha256: str) -> UPath:
        """Return the folder of what was imported from a file with this hash."""
        return self.root / "imported" / sha256[:16]

    def tokenizer(self, name: str) -> UPath:
        """Return the JSON file of a tokenizer that was fitted on a data set."""
        return self.root / "tokenizers" / name / "tokenizer.json"

    def run(self, name: str, among: str = RUNS) -> UPath:
        """Return the folder of a run's newest attempt, which holds everything that it leaves.

        The first attempt is in a folder with the name of the run, the others in ``<name>@2`` and so
        on. None is ever moved, so paths into them stay valid.

        Args:
            name: name of the run.
            among: folder of all runs of its kind.
        """
        return max(self._attempts(name, among).items(), default=(1, self.root / among / name))[1]

    def next_attempt(self, name: str, among: str = RUNS) -> UPath:
        """Return the folder of the next attempt, which does not exist yet."""
        number = max(self._attempts(name, among), default=1) + 1
        return self.root / among / f"{name}@{number}"

    def _attempts(self, name: str, among: str) -> dict[int, UPath]:
        """Return the folders of a run's second and later attempts by number."""
        folders = (self.root / among).glob(f"{name}@*")
        attempts = ((attempt_of(folder.name), folder) for folder in folders)
        return {attempt[1]: folder for attempt, folder in attempts if attempt}

    @property
    def files(self) -> Confined:
        """Everything here, by names that cannot lead outside."""
        return Confined(self.root)

    @property
    def leaderboard_url(self) -> str:
        """SQLAlchemy URL of the leaderboard.

        Raises:
            UserError: no URL was given and the root is not a local folder, which SQLite needs.
        """
        if self.leaderboard is not None:
            return self.leaderboard
        if not is_local(self.root):
            raise UserError(
                f"storage_path {self.root} is not a local folder: set leaderboard_url to the URL "
                "of a PostgreSQL database or of an SQLite file"
            )
        return f"sqlite:///{UPath(self.root.path) / 'leaderboard.sqlite'}"


def attempt_of(folder: str) -> tuple[str, int] | None:
    """Return the run and the number of the attempt that the name of a folder stands for.

    Returns:
        Both, or None if the name is not that of an attempt, like a user's copy ``run@backup``.
    """
    match = _ATTEMPT.fullmatch(folder)
    return (match[1], int(match[2] or 1)) if match else None
