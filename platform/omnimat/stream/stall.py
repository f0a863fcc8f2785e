"""A wait that ends, for what another machine should have given and never will."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from omnimat.base.errors import RunError

T = TypeVar("T")

_Asked = SimpleQueue[Future[T | None] | None]


class StallError(RunError):
    """Nothing came for too long."""


def unless_stalled(items: Iterator[T], timeout_s: float) -> Iterator[T]:
    """Give what an iterator gives, and fail where one item takes too long.

    A machine that loses the network for a while and comes back may leave a Ray Data execution that
    waits for ever in a worker that looks alive: only the one who waits can tell.

    Args:
        items: what to wait for; no item may be None.
        timeout_s: how long one item may take; time in which nobody asks does not count.

    Raises:
        StallError: an item took longer. The thread that waits for it is left to itself.
    """
    asked: _Asked[T] = SimpleQueue()
    Thread(target=_answer, args=(items, asked), name="stream", daemon=True).start()
    try:
        while (item := _ask(asked, timeout_s)) is not None:
            yield item
    finally:
        asked.put(None)


def _ask(asked: _Asked[T], timeout_s: float) -> T | None:
    answer: Future[T | None] = Future()
    asked.put(answer)
    if not wait([answer], timeout_s).done:
        raise StallError(
            f"no features came for {timeout_s:g} s, so their machine or the way to it is taken for "
            "lost; where they may take longer, raise stream.stall_timeout_s"
        )
    return answer.result()


def _answer(items: Iterator[T], asked: _Asked[T]) -> None:
    while (answer := asked.get()) is not None:
        try:
            answer.set_result(next(items, None))
        except BaseException as error:  # noqa: BLE001 (the one who asks gets it)
            answer.set_exception(error)
