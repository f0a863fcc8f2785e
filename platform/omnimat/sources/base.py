"""What every source does: say how many items it has, and read any slice of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

from omnimat.materials.paths import absolute_path as absolute_path
from omnimat.materials.record import Record


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that gave no record."""

    material_id: str
    reason: str


class Source(Protocol):
    """The settings of a source are the source: frozen, picklable, deterministic.

    Items are numbered; item i is the same record in every process that reads it.
    """

    @property
    def type(self) -> str:
        """The name it has in a job file."""

    def located(self) -> Self:
        """Give the same source with absolute paths, for workers that run in other folders.

        Raises:
            UserError: a path is missing; the message names its key.
        """

    def num_items(self) -> int:
        """Items to read, records and failures together."""

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Read items ``start`` to ``stop`` (exclusive), one result an item, in order.

        ``stop`` may lie beyond the last item.
        """
