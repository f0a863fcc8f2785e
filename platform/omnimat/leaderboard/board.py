"""What is ranked with what, and results as they are ranked: averaged over seeds."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Literal

from omnimat.base.settings import fingerprint


@dataclass(frozen=True, slots=True)
class Board:
    """What can be ranked together: one task, metric, data set and split."""

    task: str
    metric: str
    unit: str
    higher_is_better: bool
    dataset: str
    dataset_fingerprint: str
    split_sha256: str

    @property
    def board_id(self) -> str:
        """Hash of all fields."""
        return fingerprint(astuple(self))


@dataclass(frozen=True, slots=True)
class BoardCount:
    """How much there is on a board.

    Attributes:
        board: the board.
        num_results: groups of rows that are averaged over seeds.
        num_rows: of all of them.
        num_verified: rows.
        newest: when its last row was written.
    """

    board: Board
    num_results: int
    num_rows: int
    num_verified: int
    newest: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """One model, variant and configuration on one board, over its seeds.

    Attributes:
        board: what it is ranked in.
        group_id: of its rows.
        model: label.
        variant: how it was trained.
        config_hash: of the configuration.
        mean: over seeds.
        std: sample standard deviation over seeds (n - 1); None of a single seed.
        n: rows.
        seeds: of the rows, ascending.
        status: ``verified`` only if every row is.
        newest: when its last row was written.
    """

    board: Board
    group_id: str
    model: str
    variant: str
    config_hash: str
    mean: float
    std: float | None
    n: int
    seeds: tuple[int, ...]
    status: Literal["verified", "self-reported"]
    newest: datetime

    @property
    def score(self) -> str:
        """Mean and deviation, rounded to the two leading digits of the deviation."""
        if not self.std:
            return f"{self.mean:.4g}"
        decimals = max(0, 1 - math.floor(math.log10(self.std)))
        return f"{self.mean:.{decimals}f} ± {self.std:.{decimals}f}"
