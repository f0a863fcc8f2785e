"""Working ahead in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], num_items: int = 1) -> Iterator[T]:
    """Let a thread prepare the next ``num_items`` items while the caller works on another.

    It begins at once, before anybody asks for the first.

    Args:
        items: what to give, in this order; no item may be None.
        num_items: how many are prepared; at least one.
    """
    source = iter(items)
    thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    waiting = deque(thread.submit(next, source, None) for _ in range(num_items))
    return _given(source, thread, waiting)


def _given(
    source: Iterator[T], thread: ThreadPoolExecutor, waiting: deque[Future[T | None]]
) -> Iterator[T]:
    try:
        while (item := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, source, None))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)
