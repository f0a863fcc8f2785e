"""The indexes of a storage: ``indexes/<name>``, made by hand, by a job or by searches of a run.

Opening one holds all of its files against their hashes, so it stays open until its card changes.
Nothing here loads a network: neighbours are found among embeddings that are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from threading import Lock

import numpy as np
import pandas as pd
from upath import UPath

from omnimat.base.workspace import INDEXES, RUNS
from omnimat.search.card import CARD, IndexCard
from omnimat.search.hits import hits_of
from omnimat.search.index import Index, read_card
from omnimat.search.materials import NAME
from omnimat.search.nearest import nearest
from omnimat_dashboard.artifacts import Artifacts, Found, attempt
from omnimat_dashboard.run_files import ask

OF_JOB = "index"  # the folder of what a job of kind index made (``omnimat.prediction.indexing``)
SEARCH = "search"  # the folder of a run's indexes (``omnimat.search.of_run``)
MAX_LISTED = 50
_MAX_REMEMBERED = 6


@dataclass(frozen=True, slots=True)
class Listed:
    """An index by its card alone.

    Attributes:
        name: its folder in the storage, which names it in addresses.
        card: by what it was made, and of what.
    """

    name: str
    card: IndexCard

    @property
    def title(self) -> str:
        """What it holds, in a few words."""
        origin = self.card.origin
        return f"{origin.source}, {origin.modality.replace('_', ' ')} by {origin.model}"


class Indexes:
    """The indexes of one storage."""

    def __init__(self, artifacts: Artifacts) -> None:
        """Read from a storage."""
        self._artifacts = artifacts
        self._lock = Lock()
        self._open: dict[str, Index] = {}

    def listed(self) -> list[Listed]:
        """Give all indexes whose cards can be read, in the order of their names."""
        found = ((name, self.card(name).value) for name in self._names()[:MAX_LISTED])
        return [Listed(name, card) for name, card in found if card is not None]

    def card(self, name: str) -> Found[IndexCard]:
        """Read the card of an index of ``listed``."""
        return attempt(lambda: read_card(self._artifacts.storage.folder(name, "index")))

    def open(self, name: str) -> Found[Index]:
        """Open an index of ``listed``, which takes a second for each gigabyte at first."""
        card = self.card(name)
        if card.value is None:
            return Found(None, card.reason)
        with self._lock:
            known = self._open.get(name)
            if known is not None and known.card == card.value:
                return Found(known)
            opened = attempt(lambda: Index.open(self._artifacts.storage.folder(name, "index")))
            if opened.value is not None:
                self._open.pop(name, None)
                while len(self._open) >= _MAX_REMEMBERED:
                    del self._open[next(iter(self._open))]
                self._open[name] = opened.value
            return opened

    def _names(self) -> list[str]:
        root = self._artifacts.storage.root
        places = (f"{INDEXES}/*", f"{INDEXES}/*/{OF_JOB}", f"{RUNS}/*/{SEARCH}/*/*")
        patterns = [f"{place}/{CARD}" for place in places]
        found = [path for one in patterns for path in ask(partial(_glob, root, one), root)]
        return sorted(self._artifacts.storage.name_of(path.parent) for path in found)


def _glob(root: UPath, pattern: str) -> list[UPath]:
    return list(root.glob(pattern))


def row_of(index: Index, name: str) -> int | None:
    """Find the row of a material; names are in order."""
    names = index.materials[NAME]
    place = int(names.searchsorted(name))
    return place if place < len(names) and names.iloc[place] == name else None


def neighbours(index: Index, row: int, top: int) -> pd.DataFrame:
    """Find the materials whose embeddings are nearest to that of a row, without itself.

    Returns:
        Rows of ``omnimat.search.hits.hits_of``.
    """
    query = np.asarray(index.embeddings[row])[None]
    (found,), (cosines,) = nearest(query, index.embeddings, index.rows(), top + 1)
    is_other = found != row
    return hits_of(index, found[is_other][:top], cosines[is_other][:top])
