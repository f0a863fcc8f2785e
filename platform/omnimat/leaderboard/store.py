"""The store of rows: SQLite by default, or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, delete, false, insert, select, update

from omnimat.base.errors import UserError
from omnimat.base.settings import first_mistake
from omnimat.leaderboard import columns, queries, schema
from omnimat.leaderboard.board import Board, BoardCount, Summary
from omnimat.leaderboard.database import Database
from omnimat.leaderboard.finding import CHANCE, chance_in
from omnimat.leaderboard.imported import IMPORTED, Published, published_in
from omnimat.leaderboard.legible import AS_STORED
from omnimat.leaderboard.origins import Origin, as_origin, origins_query
from omnimat.leaderboard.overlap import (
    OVERLAP,
    TRAINING_OVERLAP,
    AnyOverlap,
    overlap_in,
    training_overlap_in,
)
from omnimat.leaderboard.replacement import refuse_other_result, refuse_twice
from omnimat.leaderboard.row import STATUSES, Row, Status
from omnimat.leaderboard.unusable import UnusableError

T = TypeVar("T")

_IDS_AT_A_TIME = 500  # databases limit the number of values in a statement
_OVERLAPS: Mapping[str, Callable[[Any], AnyOverlap | None]] = {
    OVERLAP: overlap_in,
    TRAINING_OVERLAP: training_overlap_in,
}


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as it lies in the database, where anybody may have changed it.

    Attributes:
        row_id: the id that it is stored under.
        group_id: the id of the group that it is stored under.
        board_id: the id of its group's board; None where the group or the board is missing.
        values: what the database has for the fields of ``Row``.
    """

    row_id: str
    group_id: str
    board_id: str | None
    values: dict[str, Any]

    def row(self) -> Row:
        """Read the row.

        Raises:
            UnusableError: if it is not a row any more, since something else wrote to the database.
        """
        try:
            return Row.model_validate(self.values, context=AS_STORED)
        except ValidationError as error:
            raise UnusableError(
                f"row {self.row_id} of the leaderboard was changed by hand "
                f"({first_mistake(error)}); restore the database from a copy"
            ) from error


class LeaderboardStore:
    """Rows in a database that several processes may write to at once.

    Writers take turns, so that ``version`` counts their transactions, and none writes between
    another's reading and writing.
    """

    def __init__(self, url: str) -> None:
        """Open the database, and make its tables or bring them up to date.

        Args:
            url: the URL for SQLAlchemy: ``sqlite:////path/leaderboard.sqlite`` on a local disk, or
                ``postgresql://user@host/database``.

        Raises:
            UserError: if the URL cannot be used, the database cannot be opened, or it was written
                by a version of omnimat that this one does not understand.
        """
        self._database = Database(url)

    def check_writable(self) -> None:
        """Find out whether rows can be written, without leaving any.

        Raises:
            UserError: they cannot; the message says why.
        """
        none = select(schema.rows).where(false())
        self._database.try_writing(
            update(schema.state).values(num_writes=schema.state.c.num_writes),
            insert(schema.rows).from_select(list(schema.rows.c.keys()), none),
        )

    def upsert(self, rows: Iterable[Row]) -> None:
        """Write all rows or none, in one transaction.

        A row of the same id is replaced unless it was checked. A checked row stays as it is if the
        new one is the same result (``Row.result``), whenever and wherever that was made; another
        result is an error.

        Raises:
            UserError: if a ``config_hash`` is not the hash of its ``config``, two results have one
                id, or a checked row would be replaced by another result.
            ValueError: if a row says that it was checked, which only ``mark`` may say.
            UnusableError: if the database is damaged or cannot be written.
        """
        new = list(rows)
        for row in new:
            columns.check(row)
        refuse_twice(new)
        if not new:
            return
        with self._database.writing() as connection:
            _count_write(connection)
            dialect = self._database.dialect
            for table, values in columns.of_shared(new):
                connection.execute(queries.insert_new(dialect, table), values)
            connection.execute(queries.upsert(dialect), [columns.of_row(row) for row in new])
            _refuse_other_content(connection, new)

    def mark(self, rows: Iterable[Row], status: Status, checked_with: str) -> list[Row]:
        """Mark rows that ``omnimat.verification``, which alone may call this, has checked.

        Args:
            rows: the rows as they were when they were checked.
            status: how far they were proven.
            checked_with: the version and commit of the omnimat that checked them.

        Returns:
            The rows that are proven at least so far now. One that was changed meanwhile is not
            among them; one that was proven further keeps its mark.
        """
        checked = {row.row_id: row for row in rows}
        with self._database.writing() as connection:
            _count_write(connection)
            same = {
                row_id: row
                for row_id, row in _rows_by_id(connection, list(checked)).items()
                if row.content == checked[row_id].content
            }
            marks = {
                "status": status,
                "checked_at": columns.instant(datetime.now(UTC)),
                "checked_with": checked_with,
            }
            wanted = STATUSES.index(status)
            less = [one for one, row in same.items() if STATUSES.index(row.status) < wanted]
            for ids in _parts(less):
                chosen = schema.rows.c.row_id.in_(ids)
                connection.execute(update(schema.rows).where(chosen).values(marks))
        return list(same.values())

    def stored(self, *, task: str | None = None, run_name: str | None = None) -> list[StoredRow]:
        """Give rows as they lie in the database, in the order of ``rows``."""
        with self._database.reading() as connection:
            return _stored(connection, task=task, run_name=run_name)

    def rows(
        self,
        *,
        group_id: str | None = None,
        task: str | None = None,
        run_name: str | None = None,
    ) -> list[Row]:
        """Give rows, ordered by task, metric, model, variant and seed."""
        with self._database.reading() as connection:
            found = _stored(connection, group_id=group_id, task=task, run_name=run_name)
        return [stored.row() for stored in found]

    def checked(self, row_ids: Sequence[str] | None = None, **wanted: Any) -> list[Row]:
        """Give rows that were checked, which another result does not replace.

        Args:
            row_ids: the ids of the rows; None for any.
            wanted: what fields of the rows must be.
        """
        parts = [None] if row_ids is None else list(_parts(row_ids))
        with self._database.reading() as connection:
            found = [one for part in parts for one in _stored(connection, part, **wanted)]
        return [one.row() for one in found if one.values["status"] != "self_reported"]

    def remove(self, prefix: str) -> int:
        """Take a result with all its rows, or one row, off the leaderboard.

        Args:
            prefix: how its id begins.

        Returns:
            How many rows there were.

        Raises:
            UserError: if no id begins like this, or several do.
        """
        rows = schema.rows.c
        with self._database.writing() as connection:
            found = {
                (name, one)
                for name in ("group_id", "row_id")
                for one in connection.scalars(
                    select(rows[name]).where(rows[name].startswith(prefix, autoescape=True))
                )
            }
            if len(found) != 1:
                which = f"{len(found)} results and rows" if found else "no result or row"
                raise UserError(
                    f"{prefix!r} begins the id of {which}; `omnimat leaderboard show` prints the "
                    "ids of results, and `omnimat leaderboard verify --all` those of rows"
                )
            _count_write(connection)
            [(name, one)] = found
            return connection.execute(delete(schema.rows).where(rows[name] == one)).rowcount

    def row(self, row_id: str) -> Row | None:
        """Give the row of this id, or None."""
        with self._database.reading() as connection:
            found = _stored(connection, row_id=row_id)
        return found[0].row() if found else None

    def group_ids(self, prefix: str) -> list[str]:
        """Give the ids that begin with this, of groups that have rows."""
        ids = schema.rows.c.group_id
        query = select(ids).where(ids.startswith(prefix, autoescape=True)).distinct().order_by(ids)
        with self._database.reading() as connection:
            return list(connection.scalars(query))

    def version(self) -> str:
        """Give a token, unique to this database, that changes with every write; for caches."""
        with self._database.reading() as connection:
            state = connection.execute(select(schema.state)).one()
        return f"{state.database_id}-{state.num_writes}"

    def boards(self) -> list[BoardCount]:
        """Count what is on each board, ordered by task, data set and metric."""
        with self._database.reading() as connection:
            found = connection.execute(queries.board_counts()).mappings().all()
            counts = [queries.as_count(line) for line in found]
        return sorted(counts, key=lambda count: queries.board_order(count.board))

    def summaries(
        self,
        board: Board | None = None,
        *,
        task: str | None = None,
        run_name: str | None = None,
        limit: int | None = None,
    ) -> list[Summary]:
        """Average rows over seeds.

        Args:
            board: selects the results on this board.
            task: selects the results of this task.
            run_name: selects the results to which this run has contributed.
            limit: how many of the best of each board are selected.

        Returns:
            Summaries, board by board (by task, data set and metric), the best mean first on each.
        """
        is_all = (board, task, run_name, limit) == (None, None, None, None)
        with self._database.reading() as connection:
            ranking = queries.ranking(board, task, run_name, limit)
            found = connection.execute(ranking).mappings().all()
            parts = [None] if is_all else list(_parts([line["group_id"] for line in found]))
            repeated = [
                row for part in parts for row in connection.execute(queries.repetitions(part))
            ]
            return queries.as_summaries(found, repeated)

    def origins(self) -> list[Origin]:
        """Give the runs that the results of each model come from, the newest first."""
        with self._database.reading() as connection:
            found = [as_origin(line) for line in connection.execute(origins_query()).mappings()]
        return sorted(found, key=lambda one: (one.newest, one.run_name, one.model), reverse=True)

    def overlaps(self, group_ids: Iterable[str]) -> dict[str, list[AnyOverlap]]:
        """Give what models have seen before of the materials that judge the results of these ids.

        Returns:
            The different overlaps of each result's seeds; nothing for a result that tells of none.
        """
        ids = list(group_ids)
        found: dict[str, list[AnyOverlap]] = {}
        for key, read in _OVERLAPS.items():
            told: dict[str, list[AnyOverlap]] = self._told(key, read, ids)
            for group_id, overlaps in told.items():
                found.setdefault(group_id, []).extend(overlaps)
        return found

    def published(self, group_ids: Iterable[str]) -> dict[str, list[Published]]:
        """Give where imported results of these ids come from; nothing for any other result."""
        return self._told(IMPORTED, published_in, group_ids)

    def chances(self, group_ids: Iterable[str]) -> dict[str, list[float]]:
        """Give what guessing scores, by the account of the rows of these ids; it is no error."""
        return self._told(CHANCE, chance_in, group_ids)

    def _told(
        self, key: str, read: Callable[[Any], T | None], group_ids: Iterable[str]
    ) -> dict[str, list[T]]:
        """Give the different things that the rows of results tell under a key of their details."""
        found: dict[str, list[T]] = {}
        with self._database.reading() as connection:
            for part in _parts(sorted(set(group_ids))):
                for line in connection.execute(queries.details(key, part)):
                    one, known = read({key: line.told}), found.get(line.group_id, [])
                    if one is not None and one not in known:
                        found[line.group_id] = [*known, one]
        return found

    def configs(self, config_hashes: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Give configurations by their hashes."""
        wanted = sorted(set(config_hashes))
        table = schema.configs
        with self._database.reading() as connection:
            return {
                found.config_hash: found.config
                for part in _parts(wanted)
                for found in connection.execute(select(table).where(table.c.config_hash.in_(part)))
            }


def _count_write(connection: Connection) -> None:
    """Take the turn to write; on PostgreSQL the next writer waits here."""
    num_writes = schema.state.c.num_writes
    connection.execute(update(schema.state).values(num_writes=num_writes + 1))


def _refuse_other_content(connection: Connection, rows: Sequence[Row]) -> None:
    wanted = {row.row_id: row for row in rows}
    for stored in _rows_by_id(connection, list(wanted)).values():
        if stored.status != "self_reported":
            refuse_other_result(stored, wanted[stored.row_id].result)


def _rows_by_id(connection: Connection, row_ids: Sequence[str]) -> dict[str, Row]:
    parts = (_stored(connection, ids) for ids in _parts(row_ids))
    return {stored.row_id: stored.row() for part in parts for stored in part}


def _stored(
    connection: Connection, row_ids: Sequence[str] | None = None, **wanted: Any
) -> list[StoredRow]:
    query = queries.stored_rows(**wanted)
    if row_ids is not None:
        query = query.where(schema.rows.c.row_id.in_(row_ids))
    keys = ("row_id", "group_id", "board_id")
    return [
        StoredRow(
            line["row_id"],
            line["group_id"],
            line["board_id"],
            {name: value for name, value in line.items() if name not in keys},
        )
        for line in connection.execute(query).mappings()
    ]


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _IDS_AT_A_TIME] for start in range(0, len(ids), _IDS_AT_A_TIME))
