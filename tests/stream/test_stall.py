"""A wait that ends."""

import threading
import time

import pytest

from omnimat.stream.stall import StallError, unless_stalled

BUSY_S, LONG_S = 2.0, 60.0
"""What a busy machine may take for an item that is there, and what nothing here takes."""


def test_all_items_come_in_order():
    assert list(unless_stalled(iter(range(100)), LONG_S)) == list(range(100))


def test_what_never_comes_is_an_error_that_says_what_to_do():
    never = threading.Event()

    def items():
        never.wait()
        yield 1

    given = unless_stalled(items(), timeout_s=0.2)
    with pytest.raises(StallError, match=r"for 0\.2 s.*raise stream\.stall_timeout_s"):
        next(given)
    never.set()


def test_time_of_who_asks_does_not_count():
    given = unless_stalled(iter("ab"), BUSY_S)
    assert next(given) == "a"
    time.sleep(1.2 * BUSY_S)
    assert next(given) == "b"


def test_errors_pass_even_of_another_wait():
    def items():
        yield 1
        raise TimeoutError("Ray's own")

    given = unless_stalled(items(), LONG_S)
    assert next(given) == 1
    with pytest.raises(TimeoutError, match="Ray's own"):
        next(given)


def test_the_thread_ends_with_who_asks():
    before = set(threading.enumerate())
    given = unless_stalled(iter(range(100)), LONG_S)
    next(given)
    [thread] = set(threading.enumerate()) - before
    given.close()
    thread.join(LONG_S)
    assert not thread.is_alive()
