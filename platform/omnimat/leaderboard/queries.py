"""The queries: whole rows, counts of boards, and results averaged over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Insert,
    RowMapping,
    Select,
    case,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from omnimat.leaderboard.board import Board, BoardCount, Summary
from omnimat.leaderboard.row import STATUSES
from omnimat.leaderboard.schema import ROW_COLUMNS, boards, configs, groups, rows

Repetition = Any
"""A line that ``repetitions`` selects."""

_BOARD = [column for column in boards.columns if column.name != "board_id"]
_COUNTS = ("num_results", "num_rows", "num_recomputed", "num_reproduced")


def stored_rows(**wanted: Any) -> Select[Any]:
    """Select rows with everything that belongs to them, by task, metric, model, variant and seed.

    A row whose group, board or configuration was removed has nulls in their place.

    Args:
        wanted: the values that columns must have; None for any value.
    """
    known = ROW_COLUMNS | {"row_id": rows.c.row_id, "group_id": rows.c.group_id}
    joined = (
        rows.outerjoin(groups, rows.c.group_id == groups.c.group_id)
        .outerjoin(boards, groups.c.board_id == boards.c.board_id)
        .outerjoin(configs, groups.c.config_hash == configs.c.config_hash)
    )
    query = select(rows.c.row_id, rows.c.group_id, boards.c.board_id, *ROW_COLUMNS.values())
    order = (boards.c.task, boards.c.metric, groups.c.model, groups.c.variant, rows.c.seed)
    return (
        query.select_from(joined)
        .where(*(known[name] == value for name, value in wanted.items() if value is not None))
        .order_by(*order, rows.c.row_id)
    )


def upsert(dialect: str) -> Insert:
    """Insert rows; one of the same id is replaced unless it was checked."""
    insert = sqlite.insert(rows) if dialect == "sqlite" else postgresql.insert(rows)
    replaced = {column.name: insert.excluded[column.name] for column in rows.columns}
    return insert.on_conflict_do_update(
        index_elements=["row_id"], set_=replaced, where=rows.c.status == "self_reported"
    )


def insert_new(dialect: str, table: Any) -> Insert:
    """Insert into a table whose ids are hashes of the content, so what is there is the same."""
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return insert.on_conflict_do_nothing()


def board_counts(board_ids: Sequence[str] | None = None) -> Select[Any]:
    """Count the groups and rows of these boards or of all, and how many rows were checked."""
    is_recomputed = case((rows.c.status != "self_reported", 1), else_=0)
    is_reproduced = case((rows.c.status == "reproduced", 1), else_=0)
    one = (
        select(
            rows.c.group_id,
            func.count().label("n"),
            func.sum(is_recomputed).label("num_recomputed"),
            func.sum(is_reproduced).label("num_reproduced"),
            func.max(rows.c.created_at).label("newest"),
        )
        .where(*_is_among(rows.c.group_id, _on_boards(board_ids)))
        .group_by(rows.c.group_id)
        .cte("one")
    )
    counts = (
        select(
            groups.c.board_id,
            func.count().label("num_results"),
            func.sum(one.c.n).label("num_rows"),
            func.sum(one.c.num_recomputed).label("num_recomputed"),
            func.sum(one.c.num_reproduced).label("num_reproduced"),
            func.max(one.c.newest).label("newest"),
        )
        .join(one, groups.c.group_id == one.c.group_id)
        .group_by(groups.c.board_id)
        .cte("counts")
    )
    return select(*_BOARD, *(counts.c[name] for name in (*_COUNTS, "newest"))).join(
        counts, boards.c.board_id == counts.c.board_id
    )


def _on_boards(board_ids: Sequence[str] | None) -> Select[Any] | None:
    if board_ids is None:
        return None
    return select(groups.c.group_id).where(groups.c.board_id.in_(board_ids))


def _is_among(column: Any, wanted: Any) -> list[ColumnElement[bool]]:
    return [] if wanted is None else [column.in_(wanted)]


def results(group_ids: Sequence[str] | None) -> Select[Any]:
    """Select these groups or all, with their boards; one without rows may be among them."""
    joined = select(groups, *_BOARD).join(boards, groups.c.board_id == boards.c.board_id)
    return joined.where(*_is_among(groups.c.group_id, group_ids))


def ranking(
    board: Board | None, task: str | None, run_name: str | None, limit: int | None
) -> Select[Any]:
    """Select groups with their place on their board, from 1, among those that are wanted.

    Args:
        board: selects the groups on this board.
        task: selects the groups of this task.
        run_name: selects the groups in which this run has a row.
        limit: how many of the best of each board are selected.
    """
    wanted = select(groups.c.group_id).join(boards, groups.c.board_id == boards.c.board_id)
    if board is not None:
        wanted = wanted.where(groups.c.board_id == board.board_id)
    if task is not None:
        wanted = wanted.where(boards.c.task == task)
    if run_name is not None:
        of_run = select(rows.c.group_id).where(rows.c.run_name == run_name)
        wanted = wanted.where(groups.c.group_id.in_(of_run))
    # PostgreSQL's avg squares the values, and fails where a square overflows.
    mean = func.sum(rows.c.value) / func.count()
    means = select(rows.c.group_id, mean.label("mean"))
    if (board, task, run_name) != (None, None, None):
        means = means.where(rows.c.group_id.in_(wanted))
    ranked = _placed(means.group_by(rows.c.group_id).cte("means"))
    within = [] if limit is None else [ranked.c.place <= limit]
    return (
        select(groups, *_BOARD, ranked.c.place)
        .select_from(ranked)
        .join(groups, ranked.c.group_id == groups.c.group_id)
        .join(boards, groups.c.board_id == boards.c.board_id)
        .where(*within)
    )


def _placed(means: CTE) -> CTE:
    """Number the groups of each board by their mean; few columns, since all lines are sorted."""
    worse_is_more = case((boards.c.higher_is_better, -means.c.mean), else_=means.c.mean)
    place = func.row_number().over(
        partition_by=groups.c.board_id, order_by=[worse_is_more, groups.c.group_id]
    )
    return (
        select(means.c.group_id, place.label("place"))
        .join(groups, means.c.group_id == groups.c.group_id)
        .join(boards, groups.c.board_id == boards.c.board_id)
        .cte("ranked")
    )


def repetitions(group_ids: Sequence[str] | None) -> Select[Any]:
    """Select what averages over seeds need, of these groups or of all."""
    query = select(
        *(
            rows.c[name]
            for name in ("group_id", "seed", "value", "num_test", "status", "created_at")
        )
    )
    return query.where(*_is_among(rows.c.group_id, group_ids))


def details(key: str, group_ids: Sequence[str]) -> Select[Any]:
    """Select what the rows of these groups tell under a key of their details; null for nothing."""
    told = rows.c.details[key].label("told")
    query = select(rows.c.group_id, told).where(rows.c.group_id.in_(group_ids))
    return query.order_by(rows.c.group_id, rows.c.seed)


def as_count(found: RowMapping) -> BoardCount:
    """Read a line that ``board_counts`` selected."""
    return BoardCount(
        board=_board(found),
        **{name: int(found[name]) for name in _COUNTS},
        newest=datetime.fromisoformat(found["newest"]),
    )


def as_summaries(found: Sequence[RowMapping], repeated: Iterable[Repetition]) -> list[Summary]:
    """Average the rows that ``repetitions`` selected for the lines that ``ranking`` selected.

    Returns:
        The results, board by board (by task, data set and metric), the best first on each.
    """
    places = {line["group_id"]: line["place"] for line in found}
    summaries = averaged(found, repeated)
    return sorted(summaries, key=lambda one: (board_order(one.board), places[one.group_id]))


def averaged(found: Sequence[RowMapping], repeated: Iterable[Repetition]) -> list[Summary]:
    """Average the rows of groups, without those that have none."""
    members: dict[str, list[Repetition]] = {}
    for row in repeated:
        members.setdefault(row.group_id, []).append(row)
    known = {line["board_id"]: line for line in found}
    boards_by_id = {board_id: _board(line) for board_id, line in known.items()}
    return [
        _summary(line, boards_by_id[line["board_id"]], members[line["group_id"]])
        for line in found
        if line["group_id"] in members
    ]


def board_order(board: Board) -> tuple[str, ...]:
    """Return a sort key that orders boards by task, data set and metric."""
    split = (board.dataset_fingerprint, board.split_sha256, board.unit)
    return (board.task, board.dataset, board.metric, *split)


def _summary(line: RowMapping, board: Board, members: Sequence[Repetition]) -> Summary:
    values = [member.value for member in members]
    return Summary(
        board=board,
        group_id=line["group_id"],
        model=line["model"],
        variant=line["variant"],
        config_hash=line["config_hash"],
        mean=fmean(values),
        std=_deviation(values),
        n=len(values),
        num_test=min(member.num_test for member in members),
        seeds=tuple(sorted(member.seed for member in members)),
        status=min(members, key=lambda one: STATUSES.index(one.status)).status.replace("_", "-"),
        newest=datetime.fromisoformat(max(member.created_at for member in members)),
    )


def _deviation(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    # statistics.stdev is exact but twenty times slower, and a sum of squares may overflow.
    return math.dist(values, [fmean(values)] * len(values)) / math.sqrt(len(values) - 1)


def _board(found: Mapping[Any, Any]) -> Board:
    return Board(*(found[column.name] for column in _BOARD))
