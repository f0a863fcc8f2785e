"""What every source can do: count its items, and read any slice of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.paths import absolute_path as absolute_path
from omnimat.base.settings import Settings
from omnimat.materials.record import Failure, Record

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


class Source(Protocol):
    """A source consists only of its settings; it is immutable, deterministic and can be pickled.

    Items are numbered, and item i is the same record in every process that reads it. Its class
    inherits from ``SourceSettings`` what it does not say itself.
    """

    @property
    def type(self) -> str:
        """Its name in a job file."""

    def model_dump(self, *, mode: str = ..., exclude: Any = ...) -> dict[str, Any]:
        """Return its settings."""

    def located(self) -> Self:
        """Return the same source with absolute paths, for workers that run in other folders.

        Raises:
            UserError: a path is missing; the message names its key.
        """

    def inputs(self) -> Mapping[str, UPath]:
        """Return the files that the located source reads, by name, if it reads any.

        The name identifies a file wherever it lies, so that changes of it are noticed.
        """

    def num_items(self) -> int:
        """Return how many items there are, including those that cannot become records."""

    def read(self, start: int, stop: int) -> Iterator[Record | Failure]:
        """Read the items from ``start`` to before ``stop``, with one result per item, in order.

        If a record lacks a modality that exists in the source, a failure follows it whose reason
        names the modality. ``stop`` may lie beyond the last item.
        """

    def property_names(self) -> frozenset[str] | None:
        """Return the names that properties of its records can have, or None if it cannot say."""

    def item_name(self, index: int) -> str:
        """Return the material id of an item, or what else it is called, without reading it."""

    def remarks(self) -> list[str]:
        """Say in whole lines what the located source holds and does not read."""


class SourceSettings(Settings):
    """What a class of a source inherits: answers of a source that has nothing to say."""

    def property_names(self) -> frozenset[str] | None:
        """Return None: the names are not known before the records are read."""
        return None

    def item_name(self, index: int) -> str:
        """Return ``item 5`` for the item of this number."""
        return f"item {index}"

    def remarks(self) -> list[str]:
        """Return no lines."""
        return []


def check_not_empty(source: Source) -> None:
    """Refuse a located source with a ``path`` where there is no file for it, without counting.

    Raises:
        UserError: there is none.
    """
    path = getattr(source, "path", None)
    if path is not None and not source.inputs():
        raise UserError(f"source.path: {path} holds no file that {source.type} reads")


class Run(Protocol):
    """Calls a function with many arguments, anywhere, and yields the results as they arrive."""

    def __call__(
        self,
        function: Callable[..., T],
        calls: Mapping[Key, tuple[Any, ...]],
        again: Callable[..., T] | None = None,
    ) -> Iterator[tuple[Key, T]]:
        """Call ``function(*calls[key])`` for every key, and ``again`` where that failed."""


@runtime_checkable
class RemoteSource(Source, Protocol):
    """A source whose items change from day to day until they are harvested.

    Attributes:
        snapshot: path of what was harvested; its last part differs if the content differs.
    """

    snapshot: str | None

    def harvest(self, directory: UPath, run: Run, report_progress: bool) -> Self:
        """Store the items in ``directory``, and return the source that reads them from there.

        If it is killed at any point and called again, it continues, and tries again to get what was
        not available.
        """

    def can_retry(self, directory: UPath) -> bool:
        """Return whether a finished harvest lacks items that may be available by now."""
