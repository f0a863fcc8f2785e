"""What a reader wants to see of a table, as the page's address says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from omnimat.leaderboard.board import Summary

PAGE_LENGTH = 500  # results; a page that has all of them sorts and filters without the server

_KEYS: Mapping[str, Callable[[Summary], Any]] = {
    "model": lambda one: one.model.casefold(),
    "variant": lambda one: one.variant,
    "score": lambda one: one.mean,
    "seeds": lambda one: one.n,
    "status": lambda one: one.status,
    "date": lambda one: one.newest,
}
MAX_TEXT = 200  # how many characters can be searched for


@dataclass(frozen=True, slots=True)
class Query:
    """Search, filters, order and page; what is unknown or empty is left out.

    Attributes:
        text: words that must all be in a result's name, variant, task, data set or hash.
        variant: the only variant that is wanted.
        status: the only status that is wanted.
        sort: the column to sort by; empty for the board's own order.
        descending: whether the column is sorted in descending order.
        page: the number of the page, from 1.
    """

    text: str = ""
    variant: str = ""
    status: str = ""
    sort: str = ""
    descending: bool = False
    page: int = 1

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Query:
        """Read the parameters of an address; nonsense counts as absent."""
        page, sort = parameters.get("page", ""), parameters.get("sort", "")
        return cls(
            text=parameters.get("q", "")[:MAX_TEXT].strip(),
            variant=parameters.get("variant", ""),
            status=parameters.get("status", ""),
            sort=sort if sort in _KEYS else "",
            descending=parameters.get("order") == "desc",
            page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
        )

    @property
    def is_search(self) -> bool:
        """Whether any results are left out."""
        return bool(self.text or self.variant or self.status)

    def matches(self, one: Summary) -> bool:
        """Say whether a result is wanted."""
        if (self.variant and one.variant != self.variant) or (
            self.status and one.status != self.status
        ):
            return False
        board = one.board
        names = (one.model, one.variant, one.config_hash, board.task, board.dataset, board.metric)
        text = " ".join(names).casefold()
        return all(word in text for word in self.text.casefold().split())

    def chosen(self, summaries: Sequence[Summary]) -> list[Summary]:
        """Give the wanted results in the wanted order."""
        found = [one for one in summaries if self.matches(one)]
        if self.sort:
            found.sort(key=_KEYS[self.sort], reverse=self.descending)
        return found

    def address(self, **changes: str | int) -> str:
        """Write the query as the parameters of an address, with ``?`` if there are any."""
        values: dict[str, str | int] = {
            "q": self.text,
            "variant": self.variant,
            "status": self.status,
            "sort": self.sort,
            "order": "desc" if self.descending else "",
        }
        kept = {name: value for name, value in (values | changes).items() if value}
        return f"?{urlencode(kept)}" if kept else ""
