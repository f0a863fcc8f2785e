"""What Python opens and connects to while a test looks, by an audit hook of the whole process."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_EVENTS = frozenset({"open", "socket.connect", "socket.getaddrinfo"})
_listeners: list[list[str]] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _listeners and event in _EVENTS:
        said = str(arguments[0] if event == "open" else event)
        for found in _listeners:
            found.append(said)


@functools.cache
def _hook() -> None:
    sys.addaudithook(_listen)  # once, since a process cannot take it back


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collect the names of files that are opened, and the events of connections, in a list."""
    _hook()
    found: list[str] = []
    _listeners.append(found)
    try:
        yield found
    finally:
        _listeners.pop()
