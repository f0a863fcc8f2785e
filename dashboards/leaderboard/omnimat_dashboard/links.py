"""Where each page and file lies, seen from the page that links to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urlencode

from omnimat.base.settings import fingerprint
from omnimat.leaderboard.board import Board

_MAX_SLUG = 60  # characters of a name that an address repeats


@dataclass(frozen=True, slots=True)
class Links:
    """Relative addresses, so that a proxy or a web server may put the site under any path.

    Attributes:
        root: the root of the site, seen from the page: ``./``, ``../``, ...
        is_static: whether pages are files, so that there is no server to ask.
    """

    root: str = "./"
    is_static: bool = False

    @classmethod
    def at_depth(cls, depth: int, *, is_static: bool) -> Links:
        """Link from a page that lies ``depth`` folders below the root."""
        return cls("../" * depth or "./", is_static)

    @property
    def overview(self) -> str:
        """The address of the first page."""
        return f"{self.root}index.html" if self.is_static else self.root

    def page(self, *parts: str) -> str:
        """Give the address of a page by the parts of its path: ``page("dataset", name)``."""
        return self.file(*parts) + (".html" if self.is_static else "")

    def file(self, *parts: str) -> str:
        """Give the address of a file by the parts of its path."""
        return self.root + "/".join(quote(part, safe="") for part in parts)

    def board(self, board: Board, extension: str = "") -> str:
        """Give the address of a board's page, or of its file with ``.csv``, ``.json``, ``.tex``."""
        if extension:
            return self.file("download", board.board_id + extension)
        return self.page("board", board.board_id)

    def result(self, group_id: str) -> str:
        """Give the address of a result's page."""
        return self.page("result", group_id)

    def model(self, name: str) -> str:
        """Give the address of a model's page by the name that its results have."""
        return self.page("models", model_slug(name))

    def material(self, dataset: str, material_id: str) -> str:
        """Give the address of a material's page, which only a server has."""
        return self.page("materials", dataset, material_id)

    def compare(self, a: str, b: str) -> str:
        """Give the address of the comparison of two results, which only a server has."""
        return f"{self.root}compare?{urlencode({'a': a, 'b': b})}"


@lru_cache(maxsize=2**17)
def model_slug(name: str) -> str:
    """Give the last part of the address of a model's page: readable, and of no other name."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_MAX_SLUG].strip("-")
    return f"{plain}-{fingerprint(name)[:8]}".lstrip("-")
