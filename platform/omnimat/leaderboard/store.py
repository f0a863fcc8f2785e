"""The store of rows: SQLite by default, or PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import false, insert, select, update

from omnimat.leaderboard import columns, queries, schema
from omnimat.leaderboard.board import Board, BoardCount, Summary
from omnimat.leaderboard.changes import Changes, Version, read_changes, read_version
from omnimat.leaderboard.database import Database
from omnimat.leaderboard.finding import CHANCE, chance_in
from omnimat.leaderboard.imported import IMPORTED, Published, published_in
from omnimat.leaderboard.origins import Origin, as_origin, origins_query
from omnimat.leaderboard.overlap import AnyOverlap
from omnimat.leaderboard.parts import parts
from omnimat.leaderboard.replacement import refuse_twice
from omnimat.leaderboard.row import Row, Status
from omnimat.leaderboard.stored_row import StoredRow, stored_rows
from omnimat.leaderboard.told import told, told_overlaps
from omnimat.leaderboard.writing import mark_rows, remove_rows, write_rows


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
            write_rows(connection, new)

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
            return mark_rows(connection, checked, status, checked_with)

    def stored(self, *, task: str | None = None, run_name: str | None = None) -> list[StoredRow]:
        """Give rows as they lie in the database, in the order of ``rows``."""
        with self._database.reading() as connection:
            return stored_rows(connection, task=task, run_name=run_name)

    def rows(
        self,
        *,
        group_id: str | None = None,
        task: str | None = None,
        run_name: str | None = None,
    ) -> list[Row]:
        """Give rows, ordered by task, metric, model, variant and seed."""
        with self._database.reading() as connection:
            found = stored_rows(connection, group_id=group_id, task=task, run_name=run_name)
        return [stored.row() for stored in found]

    def checked(self, row_ids: Sequence[str] | None = None, **wanted: Any) -> list[Row]:
        """Give rows that were checked, which another result does not replace.

        Args:
            row_ids: the ids of the rows; None for any.
            wanted: what fields of the rows must be.
        """
        with self._database.reading() as connection:
            found = [stored_rows(connection, part, **wanted) for part in parts(row_ids)]
        checked = (one for part in found for one in part if one.values["status"] != "self_reported")
        return [one.row() for one in checked]

    def remove(self, prefix: str) -> int:
        """Take a result with all its rows, or one row, off the leaderboard.

        Args:
            prefix: how its id begins.

        Returns:
            How many rows there were.

        Raises:
            UserError: if no id begins like this, or several do.
        """
        with self._database.writing() as connection:
            return remove_rows(connection, prefix)

    def row(self, row_id: str) -> Row | None:
        """Give the row of this id, or None."""
        with self._database.reading() as connection:
            found = stored_rows(connection, row_id=row_id)
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
            return str(read_version(connection))

    def changes(self, since: Version | None) -> Changes:
        """Give the results that were written since a version; for caches.

        Args:
            since: the version of the changes that were read last; None for all results.
        """
        with self._database.reading() as connection:
            return read_changes(connection, since)

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
            ids = None if is_all else [line["group_id"] for line in found]
            repeated = [
                row for part in parts(ids) for row in connection.execute(queries.repetitions(part))
            ]
            return queries.as_summaries(found, repeated)

    def origins(
        self,
        *,
        model: str | None = None,
        runs: Collection[str] | None = None,
        parents: Collection[str] | None = None,
    ) -> list[Origin]:
        """Give the runs that the results of each model come from, the newest first.

        Args:
            model: selects the results of this model.
            runs: selects the results of these runs.
            parents: selects the results that have begun where one of these runs ended.
        """
        query = origins_query(model, runs, parents)
        with self._database.reading() as connection:
            found = [as_origin(line) for line in connection.execute(query).mappings()]
        return sorted(found, key=lambda one: (one.newest, one.run_name, one.model), reverse=True)

    def overlaps(self, group_ids: Iterable[str]) -> dict[str, list[AnyOverlap]]:
        """Give what models have seen before of the materials that judge the results of these ids.

        Returns:
            The different overlaps of each result's seeds; nothing for a result that tells of none.
        """
        with self._database.reading() as connection:
            return told_overlaps(connection, group_ids)

    def published(self, group_ids: Iterable[str]) -> dict[str, list[Published]]:
        """Give where imported results of these ids come from; nothing for any other result."""
        with self._database.reading() as connection:
            return told(connection, IMPORTED, published_in, group_ids)

    def chances(self, group_ids: Iterable[str]) -> dict[str, list[float]]:
        """Give what guessing scores, by the account of the rows of these ids; it is no error."""
        with self._database.reading() as connection:
            return told(connection, CHANCE, chance_in, group_ids)

    def configs(self, config_hashes: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Give configurations by their hashes."""
        wanted = sorted(set(config_hashes))
        table = schema.configs
        with self._database.reading() as connection:
            return {
                found.config_hash: found.config
                for part in parts(wanted)
                for found in connection.execute(select(table).where(table.c.config_hash.in_(part)))
            }
