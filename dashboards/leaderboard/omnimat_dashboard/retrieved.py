"""Examples of a retrieval: queries that do well, middling and badly, each with its first hits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.evaluation.ranks import AS_NEAR, Ranks
from omnimat.evaluation.retrieval_scores import MERGED
from omnimat.leaderboard.row import Row
from omnimat_dashboard.artifacts import Artifacts, Found, attempt

NUM_HITS = 5
NUM_RANDOM = 3
MAX_QUERIES = 2_000  # that are ranked for one page; others are not looked at
_TILE = 256  # queries
_MAX_REMEMBERED = 32

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hit:
    """A material that a query finds.

    Attributes:
        material_id: its id.
        similarity: the cosine of query and key, -1 to 1.
        is_right: whether it counts as found.
        is_own: whether it is the material of the query.
    """

    material_id: str
    similarity: float
    is_right: bool
    is_own: bool


@dataclass(frozen=True, slots=True)
class Example:
    """A query and what it finds.

    Attributes:
        kind: why it is shown.
        material_id: its material.
        rank: the rank of the first right hit, from 1; of ties, the mean over all ways to break
            them.
        hits: the first hits, the nearest first.
    """

    kind: str
    material_id: str
    rank: float
    hits: Sequence[Hit]

    @property
    def found(self) -> list[str]:
        """The ids of the hits."""
        return [one.material_id for one in self.hits]


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Examples of one retrieval.

    Attributes:
        query: the modality that is given.
        key: the modality that is searched.
        num_materials: how many are searched.
        num_ranked: how many queries the examples were chosen from.
        is_merged: whether a duplicate of the material counts as right.
        examples: the best, the median, the worst, and a few at random.
    """

    query: str
    key: str
    num_materials: int
    num_ranked: int
    is_merged: bool
    examples: Sequence[Example]


class Retrievals:
    """Searches stored embeddings; what was found for a row is remembered."""

    def __init__(self, artifacts: Artifacts) -> None:
        """Read from a storage."""
        self._artifacts = artifacts
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, ...], Retrieved] = OrderedDict()

    def of(self, row: Row) -> Found[Retrieved]:
        """Give the examples of a row of retrieval, or say why there are none."""
        key = (row.predictions_sha256, row.task, str(_is_merged(row)))
        with self._lock:  # a search takes the memory of a file, so one at a time
            if key not in self._known:
                found = self._search(row)
                if found.value is None:
                    return found
                self._known[key] = found.value
            while len(self._known) > _MAX_REMEMBERED:
                self._known.popitem(last=False)
            return Found(self._known[key])

    def _search(self, row: Row) -> Found[Retrieved]:
        pair = _pair(row.task)
        names = {"material_id", "duplicate_group"}
        names |= {name for one in pair for name in (one, f"{one}_present")}
        arrays = self._artifacts.embeddings(row, names)
        if arrays.value is None:
            return Found(None, arrays.reason)
        held = arrays.value
        return attempt(lambda: _retrieved(held, pair, merged=_is_merged(row)))


def _is_merged(row: Row) -> bool:
    return row.metric.endswith(MERGED)


def _pair(task: str) -> tuple[str, str]:
    """Give query and key of a task: ``retrieval text -> structure (validation split)``."""
    query, _, key = task.removeprefix("retrieval ").partition(" -> ")
    return query, key.partition(" (")[0]


def _retrieved(
    arrays: Mapping[str, NDArray[Any]], pair: tuple[str, str], *, merged: bool
) -> Retrieved:
    """Search among the materials that have both modalities."""
    if missing := [name for name in pair if name not in arrays]:
        raise ValueError(f"it holds no embeddings of {' and '.join(missing)}")
    query, key = pair
    both = np.flatnonzero(arrays[f"{query}_present"] & arrays[f"{key}_present"])
    ids = arrays["material_id"][both]
    labels = np.arange(len(ids))
    if merged:
        labels = arrays["duplicate_group"][both]
    queries, keys = (_normalised(arrays[name][both]) for name in pair)
    rows = np.random.default_rng(0).permutation(len(ids))[:MAX_QUERIES]
    ranks = ranked(queries, keys, labels, rows).expected
    examples = [
        Example(kind, str(ids[row]), rank, _hits(queries[row], keys, labels, int(row), ids))
        for kind, row, rank in chosen(rows, ranks)
    ]
    return Retrieved(query, key, len(ids), len(rows), merged, examples)


def ranked(queries: Vectors, keys: Vectors, labels: Labels, rows: Labels) -> Ranks:
    """Rank some queries among all keys, as ``evaluation.ranks.rank_pairs`` does.

    Args:
        queries: (N, d) unit vectors.
        keys: (N, d) unit vectors; row i is the key of query i.
        labels: (N,) labels, which a query shares with its right keys.
        rows: (n,) the queries.
    """
    parts = [rows[start : start + _TILE] for start in range(0, len(rows), _TILE)]
    return Ranks.concatenated([_ranked(queries[part], keys, labels, part) for part in parts])


def _ranked(queries: Vectors, keys: Vectors, labels: Labels, rows: Labels) -> Ranks:
    similarities = queries @ keys.T
    is_right = labels[rows, None] == labels
    best = np.where(is_right, similarities, -np.inf).max(axis=1, keepdims=True)
    is_near = similarities >= best - AS_NEAR
    nearer = ((similarities > best + AS_NEAR) & ~is_right).sum(axis=1)
    num_right = is_right.sum(axis=1)
    return Ranks(
        nearer=nearer,
        as_near=(is_near & ~is_right).sum(axis=1) - nearer,
        right=(is_near & is_right).sum(axis=1),
        num_right=num_right,
        num_wrong=len(keys) - num_right,
    )


def chosen(rows: Labels, ranks: NDArray[np.float64]) -> Iterator[tuple[str, int, float]]:
    """Choose queries to show, each once: the best, the median, the worst, and a few at random.

    Args:
        rows: (n,) queries in random order.
        ranks: (n,) their ranks.
    """
    order = np.argsort(ranks, kind="stable")
    wanted = [("best", 0), ("median", (len(order) - 1) // 2), ("worst", len(order) - 1)]
    places = {int(order[place]): kind for kind, place in reversed(wanted)}
    others = [place for place in range(len(rows)) if place not in places][:NUM_RANDOM]
    for place, kind in [*reversed(places.items()), *((one, "at random") for one in others)]:
        yield kind, int(rows[place]), float(ranks[place])


def _hits(
    query: Vectors, keys: Vectors, labels: Labels, row: int, ids: NDArray[np.str_]
) -> list[Hit]:
    similarities = keys @ query
    nearest = np.argsort(-similarities, kind="stable")[:NUM_HITS]
    return [
        Hit(
            material_id=str(ids[place]),
            similarity=float(similarities[place]),
            is_right=bool(labels[place] == labels[row]),
            is_own=bool(place == row),
        )
        for place in nearest
    ]


def _normalised(vectors: NDArray[Any]) -> Vectors:
    """Give (N, d) vectors length one.

    Raises:
        ValueError: one of them has none, or there is no vector.
    """
    rows = vectors.astype(np.float32)
    if not rows.size or not np.isfinite(rows).all():
        raise ValueError("it holds no material with finite embeddings of both modalities")
    unit: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit
