"""The leaderboard that a command works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from omnimat.leaderboard.store import LeaderboardStore

url_option = click.option(
    "--url",
    metavar="URL",
    show_default="leaderboard.sqlite in the storage",
    help="SQLAlchemy URL of the leaderboard.",
)


def open_store(url: str | None) -> LeaderboardStore:
    """Open the leaderboard of a URL, or else that of the storage."""
    from omnimat.leaderboard.store import LeaderboardStore

    return LeaderboardStore(places_of(url)[0])


def places_of(url: str | None) -> tuple[str, str]:
    """Give the leaderboard's URL and the storage."""
    from omnimat.base.workspace import Workspace

    workspace = Workspace.open()
    return url or workspace.leaderboard_url, str(workspace.root)
