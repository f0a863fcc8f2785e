"""Boards, on which results are ranked together, and the results: rows averaged over seeds."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from datetime import datetime

from omnimat.base.settings import fingerprint


@dataclass(frozen=True, slots=True)
class Board:
    """What results share that are ranked together: a task, a metric, a data set and its split."""

    task: str
    metric: str
    unit: str
    higher_is_better: bool
    dataset: str
    dataset_fingerprint: str
    split_sha256: str

    @property
    def board_id(self) -> str:
        """A hash of all fields."""
        return fingerprint(astuple(self))


@dataclass(frozen=True, slots=True)
class BoardCount:
    """The numbers of results and rows on a board.

    Attributes:
        board: the board.
        num_results: how many results there are, each averaged over its seeds.
        num_rows: how many rows they have altogether.
        num_recomputed: how many of these rows were computed again, from their files at least.
        num_reproduced: how many of these rows were made again by their checkpoints too.
        newest: when the last row was written.
    """

    board: Board
    num_results: int
    num_rows: int
    num_recomputed: int
    num_reproduced: int
    newest: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of one model, variant and configuration on one board, averaged over seeds.

    Attributes:
        board: where it is ranked.
        group_id: the id that its rows share.
        model: the name of the model.
        variant: how it was trained.
        config_hash: the hash of the configuration.
        mean: the mean over seeds.
        std: the sample standard deviation over seeds (n - 1); None where there is one seed.
        n: how many rows there are.
        num_test: how many materials were tested, by the row with the fewest.
        seeds: their seeds in ascending order.
        status: the least of its rows: ``self-reported``, ``recomputed`` or ``reproduced``.
        newest: when the last row was written.
    """

    board: Board
    group_id: str
    model: str
    variant: str
    config_hash: str
    mean: float
    std: float | None
    n: int
    num_test: int
    seeds: tuple[int, ...]
    status: str
    newest: datetime


def untold_variant(model: str, variant: str) -> str:
    """Say in words how a model was trained; nothing where its name says so already."""
    letters = "".join(filter(str.isalnum, model.lower()))
    is_told = variant.replace("_", "").lower() in letters
    return "" if is_told else variant.replace("_", " ")


def rounded(mean: float, std: float | None) -> str:
    """Write a mean and its deviation, rounded to the two leading digits of the deviation."""
    if not std:
        return f"{mean:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(std)))
    return f"{mean:.{decimals}f} ± {std:.{decimals}f}"
