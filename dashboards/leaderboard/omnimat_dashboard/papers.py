"""Numbers that papers print, drawn as reference lines where they can be compared at all."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import yaml
from pydantic import Field, TypeAdapter

from omnimat.base.settings import Settings
from omnimat.leaderboard.board import Board


class PaperValue(Settings):
    """One printed number."""

    model: str
    value: float


class PaperTask(Settings):
    """What a paper prints for one task and metric, in the leaderboard's unit."""

    task: str
    metric: str
    unit: str = ""
    caveat: str = ""
    values: tuple[PaperValue, ...]
    per_class_model: str = ""
    per_class: dict[str, float] = Field(default_factory=dict)


class Paper(Settings):
    """A paper, and parts of the names of the data sets on which it can be compared."""

    title: str
    arxiv: str
    datasets: tuple[str, ...]
    caveat: str
    tasks: tuple[PaperTask, ...]

    @property
    def url(self) -> str:
        """The address where it can be read."""
        return f"https://arxiv.org/abs/{self.arxiv}"

    def task(self, board: Board) -> PaperTask | None:
        """Give what the paper prints for a board, if anything."""
        name = re.sub(r"[^a-z0-9]", "", board.dataset.lower())
        if not any(dataset in name for dataset in self.datasets):
            return None
        wanted = (board.task, board.metric, board.unit)
        return next((t for t in self.tasks if (t.task, t.metric, t.unit) == wanted), None)


@cache
def papers() -> tuple[Paper, ...]:
    """Read ``papers.yaml``."""
    text = files("omnimat_dashboard").joinpath("papers.yaml").read_text()
    return TypeAdapter(tuple[Paper, ...]).validate_python(yaml.safe_load(text))


def printed(board: Board) -> list[tuple[Paper, PaperTask]]:
    """Give the papers that print numbers for a board."""
    found = ((paper, paper.task(board)) for paper in papers())
    return [(paper, task) for paper, task in found if task is not None]
