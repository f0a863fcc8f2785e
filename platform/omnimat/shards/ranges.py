"""Fetches byte ranges of files in few requests, and those of a failed request one by one.

One request may hold several ranges, so that reading many small records takes a handful of GETs on
an object store, which run concurrently where the filesystem can do that. A failure costs only time:
the ranges of the failed request are asked for again, each alone, so that one unreadable byte does
not spoil its neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from omnimat.base import retry

# Reading a hole this wide is cheaper than another request: 2 ms at 100 MB/s.
MAX_GAP_BYTES = 256 * 2**10
# How many bytes may be read for each byte that was asked for.
MAX_READ_FACTOR = 4
# Large reads are several requests, so that they can run at the same time.
MAX_REQUEST_BYTES = 8 * 2**20


class ByteRange(NamedTuple):
    """A range of the bytes of a file.

    Attributes:
        path: the file's path on its filesystem, without the protocol.
        start: the first byte.
        stop: the byte after the last.
        key: the caller's name for the range.
    """

    path: str
    start: int
    stop: int
    key: int


def fetch(
    filesystem: Any, ranges: Sequence[ByteRange]
) -> Iterator[tuple[ByteRange, memoryview | Exception]]:
    """Read ranges in no particular order.

    At most ``MAX_READ_FACTOR`` times their bytes are held in memory.

    Args:
        filesystem: a filesystem of fsspec.
        ranges: what to read; none of them is empty.

    Returns:
        Each range with a view of its bytes (fewer than asked for where the file ends), or with the
        error that lasted. A view keeps all bytes of its request in memory.
    """
    requests = as_requests(ranges)
    for attempt in range(1, retry.NUM_TRIES + 1):
        again: list[ByteRange] = []
        has_error = False
        for piece, content in _fetch_once(filesystem, requests):
            if attempt < retry.NUM_TRIES and _may_improve(piece, content):
                again.append(piece)
                has_error = has_error or isinstance(content, Exception)
            else:
                yield piece, content
        if not again:
            return
        if has_error:
            time.sleep(retry.wait_s(attempt))
        requests = [[piece] for piece in again]


def _may_improve(piece: ByteRange, content: memoryview | Exception) -> bool:
    if isinstance(content, Exception):
        return retry.is_transient(content)
    return len(content) < piece.stop - piece.start


def as_requests(ranges: Sequence[ByteRange]) -> list[list[ByteRange]]:
    """Join the ranges of a file that lie close together into one request.

    The narrowest holes between them are closed first, as far as ``MAX_READ_FACTOR`` allows.
    """
    ordered = sorted(ranges)
    holes = sorted(
        (max(0, after.start - before.stop), i)
        for i, (before, after) in enumerate(pairwise(ordered), start=1)
        if before.path == after.path and after.start - before.stop <= MAX_GAP_BYTES
    )
    budget = (MAX_READ_FACTOR - 1) * sum(piece.stop - piece.start for piece in ranges)
    closed = set()
    for size, i in holes:
        budget -= size
        if budget < 0:
            break
        closed.add(i)
    requests: list[list[ByteRange]] = []
    for i, piece in enumerate(ordered):
        if i in closed and piece.stop - requests[-1][0].start <= MAX_REQUEST_BYTES:
            requests[-1].append(piece)
        else:
            requests.append([piece])
    return requests


def _fetch_once(
    filesystem: Any, requests: list[list[ByteRange]]
) -> Iterator[tuple[ByteRange, memoryview | Exception]]:
    starts = [request[0].start for request in requests]
    contents = filesystem.cat_ranges(
        [request[0].path for request in requests],
        starts,
        [max(piece.stop for piece in request) for request in requests],
        on_error="return",
    )
    contents.reverse()
    for request, start in zip(requests, starts, strict=True):
        content = contents.pop()  # one at a time, so that each can be freed
        for piece in request:
            if isinstance(content, Exception):
                yield piece, content
            else:
                yield piece, memoryview(content)[piece.start - start : piece.stop - start]
