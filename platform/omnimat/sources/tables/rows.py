"""What each kind of table file can do: name its columns, count its rows and read slices of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from omnimat.base.errors import UserError
from omnimat.sources.tables.values import Kind


class Rows(Protocol):
    """The rows of a file; one that cannot be read is an error, and the others are read."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What columns hold whose type the file does not say."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata of the file."""

    def count(self) -> int:
        """Count the rows."""

    def read(
        self, start: int, stop: int, columns: Collection[str]
    ) -> Iterator[Mapping[str, Any] | ValueError]:
        """Read the rows from ``start`` to before ``stop``, with at least these columns."""


def refuse_repeated(columns: Sequence[str], where: str) -> None:
    """Refuse columns of which two have the same name.

    Args:
        columns: their names; columns without one are not compared.
        where: key and path of the file, with which the message begins.

    Raises:
        UserError: there are two.
    """
    if again := next((name for name in columns if name and columns.count(name) > 1), None):
        raise UserError(f"{where} has two columns {again!r}; rename one")
