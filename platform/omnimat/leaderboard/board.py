"""Boards, which say what is ranked together, and the results on them, averaged over seeds."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Literal

from omnimat.base.settings import fingerprint


@dataclass(frozen=True, slots=True)
class Board:
    """Results that can be ranked together: one task, metric, data set and split."""

    task: str
    metric: str
    unit: str
    higher_is_better: bool
    dataset: str
    dataset_fingerprint: str
    split_sha256: str

    @property
    def board_id(self) -> str:
        """Hash of all fields, which identifies the board."""
        return fingerprint(astuple(self))


@dataclass(frozen=True, slots=True)
class BoardCount:
    """The numbers of results and rows on a board.

    Attributes:
        board: the board.
        num_results: number of results; each is a group of rows, averaged over seeds.
        num_rows: number of rows in all groups.
        num_verified: number of verified rows.
        newest: time at which the last row was written.
    """

    board: Board
    num_results: int
    num_rows: int
    num_verified: int
    newest: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of one model, variant and configuration on one board, averaged over seeds.

    Attributes:
        board: board on which it is ranked.
        group_id: id that its rows share.
        model: label of the model.
        variant: label of how the model was trained.
        config_hash: hash of the configuration.
        mean: mean over seeds.
        std: sample standard deviation over seeds (n - 1); None for a single seed.
        n: number of rows.
        seeds: seeds of the rows, ascending.
        status: ``verified`` only if every row is verified.
        newest: time at which the last row was written.
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
        """Mean and standard deviation, rounded to the two leading digits of the latter."""
        if not self.std:
            return f"{self.mean:.4g}"
        decimals = max(0, 1 - math.floor(math.log10(self.std)))
        return f"{self.mean:.{decimals}f} ± {self.std:.{decimals}f}"
