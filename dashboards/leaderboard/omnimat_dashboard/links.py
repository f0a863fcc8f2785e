"""Where each page and file lies, seen from the page that links to it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from omnimat.leaderboard.board import Board


@dataclass(frozen=True, slots=True)
class Links:
    """Relative addresses, so that a proxy or a web server may put the site under any path.

    Attributes:
        root: of the site, seen from the page: ``./``, ``../``, ...
        is_static: pages are files, and there is no server to ask.
    """

    root: str = "./"
    is_static: bool = False

    @classmethod
    def at_depth(cls, depth: int, *, is_static: bool) -> Links:
        """Link from a page that lies so many folders below the root."""
        return cls("../" * depth or "./", is_static)

    @property
    def overview(self) -> str:
        """The first page."""
        return f"{self.root}index.html" if self.is_static else self.root

    def page(self, *parts: str) -> str:
        """A page by its path's parts: ``page("dataset", name)``."""
        return self.file(*parts) + (".html" if self.is_static else "")

    def file(self, *parts: str) -> str:
        """A file by its path's parts."""
        return self.root + "/".join(quote(part, safe="") for part in parts)

    def board(self, board: Board, extension: str = "") -> str:
        """A board's page, or with ``.csv`` or ``.json`` its file."""
        if extension:
            return self.file("download", board.board_id + extension)
        return self.page("board", board.board_id)

    def result(self, group_id: str) -> str:
        """A result's page."""
        return self.page("result", group_id)

    def compare(self, a: str, b: str) -> str:
        """The comparison of two results; only a server has it."""
        return f"{self.root}compare?{urlencode({'a': a, 'b': b})}"
