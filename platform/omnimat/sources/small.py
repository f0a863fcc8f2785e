"""Ingests so small that they are done before a Ray has started."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from omnimat.base.retry import patiently
from omnimat.sources.base import RemoteSource
from omnimat.sources.settings import IngestSettings

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")

# A Ray of our own takes some ten seconds, a crystal a tenth of one at most.
MAX_ITEMS = 100


def is_small(settings: IngestSettings) -> bool:
    """Say whether an ingest has few items, which are at hand and whose texts need not be written.

    Raises:
        UserError: a path of the source is missing.
    """
    if isinstance(settings.source, RemoteSource) or settings.missing_text is not None:
        return False
    return settings.located().source.num_items() <= MAX_ITEMS


def in_turn(
    function: Callable[..., T],
    calls: Mapping[Key, tuple[Any, ...]],
    again: Callable[..., T] | None = None,
) -> Iterator[tuple[Key, T]]:
    """Do what ``omnimat.cluster.tasks.in_parallel`` does in this process, one call after another.

    Only the body of a further try is used, if there is one: this process must survive it.

    Raises:
        UserError: the storage refuses; the message says why.
        RunError: the storage failed at each of several tries.
    """
    for key, arguments in calls.items():
        yield key, patiently(partial(again or function, *arguments), f"part {key}")
