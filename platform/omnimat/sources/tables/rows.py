"""What each kind of table file can do: name its columns, count its rows and read slices of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

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
