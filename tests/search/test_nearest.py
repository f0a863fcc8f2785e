import numpy as np
import pytest

from omnimat.base.errors import UserError
from omnimat.search import nearest as nearest_module
from omnimat.search.nearest import nearest
from omnimat.search.screen import Criteria, Ranking, screened
from omnimat.search.search import search_index, search_run


def by_sorting(query, keys, rows, top):
    """The slow twin: every product in double precision, and a sort of all."""
    cosines = np.round((keys[rows].astype(np.float64) * query).sum(axis=1), 6)
    order = np.lexsort([rows, -cosines])[:top]
    return rows[order], cosines[order]


def unit(generator, *shape):
    vectors = generator.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def few_values(generator, *shape):
    """So few that ties abound."""
    vectors = generator.integers(-1, 2, shape).astype(np.float32)
    vectors[~vectors.any(axis=1), 0] = 1
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def close(generator, *shape):
    """Vectors whose cosines differ in digits that single precision does not have."""
    return unit(generator, *shape) * np.float32(1e-4) + unit(generator, 1, shape[1])


@pytest.mark.parametrize("block_rows", [1, 7, 1000])
@pytest.mark.parametrize("vectors", [unit, few_values, close])
@pytest.mark.parametrize("share", [0.6, 1])
def test_it_finds_what_sorting_finds_in_blocks_of_any_size(block_rows, vectors, share):
    generator = np.random.default_rng(0)
    keys = vectors(generator, 500, 9)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    queries = np.concatenate([keys[:3], unit(generator, 2, 9)])
    rows = np.flatnonzero(generator.random(500) < share)
    places, cosines = nearest(queries, keys, rows, top=20, block_rows=block_rows)
    for query, place, cosine in zip(queries, places, cosines, strict=True):
        expected, exact = by_sorting(query, keys, rows, 20)
        assert place.tolist() == expected.tolist()
        np.testing.assert_array_equal(cosine, exact.astype(np.float32))


def test_all_may_be_equally_near(monkeypatch):
    monkeypatch.setattr(nearest_module, "_BLOCK_ROWS", 64)
    keys = np.tile(np.float32([0.6, 0.8]), (300, 1))
    places, cosines = nearest(keys[:1], keys, np.arange(300), top=5, block_rows=64)
    assert places.tolist() == [[0, 1, 2, 3, 4]]
    assert (cosines == 1).all()


def test_there_may_be_fewer_than_asked_for_and_none():
    keys = np.eye(3, dtype=np.float32)
    places, _ = nearest(keys[:1], keys, np.arange(3), top=10)
    assert places.tolist() == [[0, 1, 2]]
    places, cosines = nearest(keys[:1], keys, np.arange(0), top=10)
    assert places.shape == cosines.shape == (1, 0)


@pytest.mark.parametrize("top", [0, -1])
@pytest.mark.parametrize(
    "find",
    [
        lambda top: search_index(None, None, ["NaCl"], top=top),
        lambda top: search_run("run", ["NaCl"], None, top=top),
        lambda top: screened(None, None, Criteria(), Ranking(), top),
    ],
)
def test_nothing_to_find_is_refused_before_anything_is_opened(find, top):
    with pytest.raises(UserError, match="top: "):
        find(top)
