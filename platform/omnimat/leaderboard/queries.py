"""What the database answers in one query: rows whole, boards counted, seeds averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Insert,
    RowMapping,
    Select,
    String,
    case,
    cast,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from omnimat.leaderboard.board import Board, BoardCount, Summary
from omnimat.leaderboard.schema import ROW_COLUMNS, boards, configs, groups, rows

_BOARD = [column for column in boards.columns if column.name != "board_id"]


def stored_rows(**wanted: str | None) -> Select[Any]:
    """Select rows with all that belongs to them, by task, metric, model, variant and seed.

    A row whose group, board or configuration was removed is selected with nulls in its place.

    Args:
        wanted: values of columns; None for any.
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
    """Give the ``INSERT`` that replaces a row of the same id unless it is verified."""
    insert = sqlite.insert(rows) if dialect == "sqlite" else postgresql.insert(rows)
    replaced = {column.name: insert.excluded[column.name] for column in rows.columns}
    return insert.on_conflict_do_update(
        index_elements=["row_id"], set_=replaced, where=rows.c.status != "verified"
    )


def insert_new(dialect: str, table: Any) -> Insert:
    """Give the ``INSERT`` into a table named by content: what is there already is the same."""
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return insert.on_conflict_do_nothing()


def _averages() -> CTE:
    """Average each group's rows."""
    is_verified = case((rows.c.status == "verified", 1), else_=0)
    return (
        select(
            rows.c.group_id,
            func.avg(rows.c.value).label("mean"),
            func.count().label("n"),
            func.sum(is_verified).label("num_verified"),
            func.max(rows.c.created_at).label("newest"),
        )
        .group_by(rows.c.group_id)
        .cte("averages")
    )


def board_counts() -> Select[Any]:
    """Count groups, rows and verified rows of each board."""
    one = _averages()
    counts = (
        select(
            groups.c.board_id,
            func.count().label("num_results"),
            func.sum(one.c.n).label("num_rows"),
            func.sum(one.c.num_verified).label("num_verified"),
            func.max(one.c.newest).label("newest"),
        )
        .join(one, groups.c.group_id == one.c.group_id)
        .group_by(groups.c.board_id)
        .cte("counts")
    )
    return select(
        *_BOARD, counts.c.num_results, counts.c.num_rows, counts.c.num_verified, counts.c.newest
    ).join(counts, boards.c.board_id == counts.c.board_id)


def summaries(
    board: Board | None, task: str | None, run_name: str | None, limit: int | None
) -> Select[Any]:
    """Average over seeds, and tell each group's place on its board.

    Args:
        board: on this one alone.
        task: of this one alone.
        run_name: of groups in which this run has a row.
        limit: the best so many of each board.
    """
    ranked = _ranked(board, task, run_name)
    within = [] if limit is None else [ranked.c.place <= limit]
    deviation = rows.c.value - ranked.c.mean
    spread = (
        select(
            rows.c.group_id,
            func.sum(deviation * deviation).label("squares"),
            func.aggregate_strings(cast(rows.c.seed, String), ",").label("seeds"),
        )
        .join(ranked, rows.c.group_id == ranked.c.group_id)
        .where(*within)
        .group_by(rows.c.group_id)
        .cte("spread")
    )
    return (
        select(ranked, *_BOARD, spread.c.squares, spread.c.seeds)
        .join(spread, ranked.c.group_id == spread.c.group_id)
        .join(boards, ranked.c.board_id == boards.c.board_id)
    )


def _ranked(board: Board | None, task: str | None, run_name: str | None) -> CTE:
    """Give each group its averages and its place among those wanted of its board, from 1."""
    one = _averages()
    worse_is_more = case((boards.c.higher_is_better, -one.c.mean), else_=one.c.mean)
    place = func.row_number().over(
        partition_by=groups.c.board_id, order_by=[worse_is_more, groups.c.group_id]
    )
    conditions: list[ColumnElement[bool]] = []
    if board is not None:
        conditions.append(groups.c.board_id == board.board_id)
    if task is not None:
        conditions.append(boards.c.task == task)
    if run_name is not None:
        of_run = select(rows.c.group_id).where(rows.c.run_name == run_name)
        conditions.append(groups.c.group_id.in_(of_run))
    return (
        select(
            *groups.columns,
            *(one.c[name] for name in ("mean", "n", "num_verified", "newest")),
            place.label("place"),
        )
        .join(one, groups.c.group_id == one.c.group_id)
        .join(boards, groups.c.board_id == boards.c.board_id)
        .where(*conditions)
        .cte("ranked")
    )


def as_count(found: RowMapping) -> BoardCount:
    """Read a line of ``board_counts``."""
    return BoardCount(
        board=_board(found),
        num_results=int(found["num_results"]),
        num_rows=int(found["num_rows"]),
        num_verified=int(found["num_verified"]),
        newest=datetime.fromisoformat(found["newest"]),
    )


def as_summaries(found: Sequence[RowMapping]) -> list[Summary]:
    """Read the lines of ``summaries``, boards by task, data set and metric."""
    known: dict[str, Board] = {}
    for line in found:
        if line["board_id"] not in known:
            known[line["board_id"]] = _board(line)
    order = sorted(known, key=lambda board_id: board_order(known[board_id]))
    places = {board_id: place for place, board_id in enumerate(order)}
    lines = sorted(found, key=lambda line: (places[line["board_id"]], line["place"]))
    return [_summary(line, known[line["board_id"]]) for line in lines]


def board_order(board: Board) -> tuple[str, ...]:
    """Order boards by task, data set and metric."""
    split = (board.dataset_fingerprint, board.split_sha256, board.unit)
    return (board.task, board.dataset, board.metric, *split)


def _summary(line: RowMapping, board: Board) -> Summary:
    n = int(line["n"])
    return Summary(
        board=board,
        group_id=line["group_id"],
        model=line["model"],
        variant=line["variant"],
        config_hash=line["config_hash"],
        mean=line["mean"],
        std=math.sqrt(line["squares"] / (n - 1)) if n > 1 else None,
        n=n,
        seeds=tuple(sorted(map(int, line["seeds"].split(",")))),
        status="verified" if line["num_verified"] == n else "self-reported",
        newest=datetime.fromisoformat(line["newest"]),
    )


def _board(found: Mapping[Any, Any]) -> Board:
    return Board(*(found[column.name] for column in _BOARD))
