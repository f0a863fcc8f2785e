"""Byte ranges in few requests, and what happens to each that fails."""

from itertools import pairwise

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from omnimat.base import retry
from omnimat.shards import ranges
from omnimat.shards.ranges import ByteRange, as_requests, fetch


@pytest.fixture
def content():
    return np.random.default_rng(0).bytes(10_000)


@pytest.fixture
def path(tmp_path, content):
    (tmp_path / "data").write_bytes(content)
    return str(tmp_path / "data")


class Counting(LocalFileSystem):
    """Counts requests, and fails those that cover bytes."""

    cachable = False

    def __init__(self, bad_bytes=()):
        super().__init__()
        self.requests, self.bad_bytes = [], bad_bytes

    def cat_file(self, path, start=None, end=None, **kwargs):
        self.requests.append((start, end))
        if any(start <= byte < end for byte in self.bad_bytes):
            raise OSError("unreadable")
        return super().cat_file(path, start, end, **kwargs)


def adjacent(path, count=20, size=500):
    return [ByteRange(path, i * size, (i + 1) * size, i) for i in range(count)]


def test_adjacent_ranges_are_one_request(path, content):
    filesystem = Counting()
    shuffled = np.random.default_rng(1).permutation(20)
    pieces = [adjacent(path)[i] for i in shuffled]
    found = dict(fetch(filesystem, pieces))
    assert {p.key: c for p, c in found.items()} == {
        p.key: content[p.start : p.stop] for p in pieces
    }
    assert filesystem.requests == [(0, 10_000)]
    assert list(fetch(filesystem, [])) == []


def test_a_request_holds_no_more_than_so_many_bytes(path, monkeypatch):
    monkeypatch.setattr(ranges, "MAX_REQUEST_BYTES", 1600)
    filesystem = Counting()
    assert len(list(fetch(filesystem, adjacent(path)))) == 20
    assert filesystem.requests == [(s, min(s + 1500, 10_000)) for s in range(0, 10_000, 1500)]


@pytest.mark.parametrize("seed", range(5))
def test_holes_cost_no_more_than_allowed(seed, monkeypatch):
    monkeypatch.setattr(ranges, "MAX_READ_FACTOR", 2)
    monkeypatch.setattr(ranges, "MAX_GAP_BYTES", 3000)
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.choice(100, 30, replace=False)) * 1000
    pieces = [
        ByteRange(f"file{rng.integers(2)}", int(s), int(s + rng.integers(1, 1001)), i)
        for i, s in enumerate(starts)
    ]
    requests = as_requests(pieces)
    assert sorted(p for request in requests for p in request) == sorted(pieces)
    wanted = sum(p.stop - p.start for p in pieces)
    read = sum(request[-1].stop - request[0].start for request in requests)
    assert wanted < read <= 2 * wanted
    assert len(requests) < len(pieces) * 0.8
    for request in requests:
        assert len({piece.path for piece in request}) == 1
        for before, after in pairwise(request):
            assert after.start - before.stop <= 3000


def test_one_unreadable_byte_costs_its_own_range_alone(path, content, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    filesystem = Counting(bad_bytes=[4321])
    found = {piece.key: data for piece, data in fetch(filesystem, adjacent(path))}
    assert isinstance(found.pop(8), OSError)
    assert found == {i: content[i * 500 : (i + 1) * 500] for i in range(20) if i != 8}
    # Together, then each alone, then the bad one again.
    assert len(filesystem.requests) == 1 + 20 + (retry.NUM_TRIES - 2)


def test_a_file_that_ends_early_is_asked_again_without_waiting(path, content, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 1e6)
    filesystem = Counting()
    pieces = [ByteRange(path, 9000, 10_000, 0), ByteRange(path, 9900, 10_100, 1)]
    found = {piece.key: data for piece, data in fetch(filesystem, pieces)}
    assert found == {0: content[9000:], 1: content[9900:]}
    assert len(filesystem.requests) == retry.NUM_TRIES


@pytest.mark.parametrize("error", [FileNotFoundError("x"), PermissionError("x"), TypeError("x")])
def test_what_lasts_is_not_tried_again(path, error, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 1e6)

    class Refusing(Counting):
        def cat_file(self, path, start=None, end=None, **kwargs):
            self.requests.append((start, end))
            raise error

    filesystem = Refusing()
    assert [data for _, data in fetch(filesystem, adjacent(path, 3))] == [error] * 3
    assert len(filesystem.requests) == 1
