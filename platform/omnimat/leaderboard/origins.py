"""Which runs the results of a model come from, and which runs have begun where another ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from sqlalchemy import RowMapping, Select, func, select

from omnimat.leaderboard.row import Row
from omnimat.leaderboard.schema import boards, groups, rows

_SHARED = (
    groups.c.model,
    groups.c.variant,
    rows.c.run_name,
    rows.c.parent_run,
    boards.c.dataset,
    boards.c.dataset_fingerprint,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """What the results of one model have in common that one run has left.

    Attributes:
        model: the name of the model.
        variant: how the run trained it.
        run_name: the name of the run.
        parent_run: the pretraining run that it started from; empty from scratch.
        dataset: the name of the data set that judges.
        dataset_fingerprint: the fingerprint of that data set.
        group_id: the id of one of the results.
        num_results: how many results there are, each averaged over its seeds.
        newest: when the last row was written.
    """

    model: str
    variant: str
    run_name: str
    parent_run: str
    dataset: str
    dataset_fingerprint: str
    group_id: str
    num_results: int
    newest: datetime

    @classmethod
    def of(cls, row: Row) -> Self:
        """Give the origin of one row."""
        return cls(
            model=row.model,
            variant=row.variant,
            run_name=row.run_name,
            parent_run=row.parent_run,
            dataset=row.dataset,
            dataset_fingerprint=row.dataset_fingerprint,
            group_id=row.group_id,
            num_results=1,
            newest=row.created_at,
        )


def origins_query(
    model: str | None, runs: Collection[str] | None, parents: Collection[str] | None
) -> Select[Any]:
    """Select the origins of results; columns that hold no JSON, so that it stays quick."""
    wanted = [] if model is None else [groups.c.model == model]
    wanted += [] if runs is None else [rows.c.run_name.in_(runs)]
    wanted += [] if parents is None else [rows.c.parent_run.in_(parents)]
    return (
        select(
            *_SHARED,
            func.min(rows.c.group_id).label("group_id"),
            func.count(rows.c.group_id.distinct()).label("num_results"),
            func.max(rows.c.created_at).label("newest"),
        )
        .join(groups, rows.c.group_id == groups.c.group_id)
        .join(boards, groups.c.board_id == boards.c.board_id)
        .where(*wanted)
        .group_by(*_SHARED)
    )


def as_origin(found: RowMapping) -> Origin:
    """Read a line that ``origins_query`` selected."""
    return Origin(**{**found, "newest": datetime.fromisoformat(found["newest"])})
