"""The same pages in a folder, which any web server can serve."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import write_atomically
from omnimat.base.workspace import Workspace
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard.artifacts import DATASET_FILES
from omnimat_dashboard.assets import NAMES, asset
from omnimat_dashboard.board import as_csv, as_json
from omnimat_dashboard.latex import as_latex
from omnimat_dashboard.links import Links
from omnimat_dashboard.pages import Pages
from omnimat_dashboard.query import Query

EVERYTHING = Query()


def write_site(url: str, storage: str | None, folder: Path) -> int:
    """Write every page except comparisons, with the files they need or offer for download.

    Args:
        url: the URL of the leaderboard's database.
        storage: the folder or URI that holds runs and data sets; None for the default one.
        folder: where to write; files of the same names are replaced.

    Returns:
        How many pages were written.

    Raises:
        UserError: the database cannot be used, or an id or a name in it is no name of a file.
    """
    pages = Pages(LeaderboardStore(url), Workspace.open(storage, url))
    num_pages = 0
    for parts, html in _pages(pages):
        _write(folder, (*parts[:-1], f"{parts[-1]}.html"), html.encode())
        num_pages += 1
    for name in NAMES:
        _write(folder, ("static", name), asset(name).content)
    for parts, content in _files(pages):
        _write(folder, parts, content)
    return num_pages


def _pages(pages: Pages) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give the path of each page, without its ending, and its HTML."""
    top, below, deep = (Links.at_depth(depth, is_static=True) for depth in range(3))
    yield ("index",), pages.overview(top, EVERYTHING)
    yield ("datasets",), pages.datasets(top)
    yield ("maps",), pages.maps(top)
    yield ("runs",), pages.runs(top)
    yield ("models",), pages.models(top, EVERYTHING)
    for slug in pages.catalogue.model_names():
        yield ("models", slug), pages.model(below, slug) or ""
    for contest in pages.catalogue.every_contest():
        name = contest.board.board_id
        yield ("board", name), pages.board(below, name, EVERYTHING) or ""
        for one in contest.ranked:
            yield ("result", one.group_id), pages.result(below, one.group_id) or ""
    for name in pages.artifacts.datasets():
        yield ("dataset", name), pages.dataset(below, name) or ""
    for run in pages.artifacts.runs():
        yield ("run", run), pages.run(below, run) or ""
    for run in pages.artifacts.runs_with_maps():
        names = pages.artifacts.maps(run)
        for name in names:
            yield ("map", run, name), pages.map(deep, run, name) or ""
        if names:
            yield ("map", run), pages.map(below, run) or ""


def _files(pages: Pages) -> Iterator[tuple[tuple[str, ...], bytes]]:
    for contest in pages.catalogue.every_contest():
        name, ranked = contest.board.board_id, contest.ranked
        content = json.dumps(as_json(ranked), indent=1)
        yield ("download", f"{name}.json"), content.encode()
        yield ("download", f"{name}.csv"), as_csv(ranked).encode()
        table = as_latex(contest, ranked, pages.standing.of(contest))
        yield ("download", f"{name}.tex"), table.encode()
    for packed in pages.packages.opened():
        if packed.can_be_downloaded and (archive := pages.packages.archive(packed.file).value):
            yield ("package", packed.file), archive
    for dataset in pages.artifacts.datasets():
        for name in DATASET_FILES:
            found = pages.artifacts.dataset_file(dataset, name)
            if found.value is not None:
                yield ("dataset", dataset, name), found.value


def _write(folder: Path, parts: tuple[str, ...], content: bytes) -> None:
    """Write a file below the folder; ids come from the database, where anything may stand."""
    if wrong := [part for part in parts if not _is_plain(part)]:
        raise UserError(
            f"{wrong[0]!r} is no name of a file, so its page is not written; restore the "
            "leaderboard from a copy, or remove the result"
        )
    write_atomically(UPath(folder.absolute()).joinpath(*parts), content)


def _is_plain(part: str) -> bool:
    name = part.removesuffix(".html")
    return name not in {"", ".", ".."} and not set(part) & {"/", "\\", "\0"}
