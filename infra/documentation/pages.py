"""Which pages the site has, and how they refer to each other and to files of the repository.

A page may include a section of another file by a line of its own::

    <!-- section "Job files" of README.md -->

Links are written as the repository needs them, relative to the file that they stand in. On the
site, a link to a file that is not a page leads to a page that shows the file.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from documentation.markdown import code_block, sections, with_links

PROSE = "platform/omnimat/docs"
"""Folder of the pages that are written for the site."""
ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "dashboards/README.md": "operations/dashboards.md",
    "dashboards/observability/README.md": "operations/observability.md",
    "infra/README.md": "operations/index.md",
    "infra/cloud.md": "operations/cloud.md",
    "infra/docker/README.md": "operations/images.md",
    "infra/kuberay/README.md": "operations/kubernetes.md",
    "jobs/LOG.md": "log.md",
    "jobs/tutorials/README.md": "tutorials/index.md",
    "platform/CHANGELOG.md": "changelog.md",
}
"""Files that are pages of the site too, by their paths in the repository."""
HOME = {"README.md": "index.md"}
"""What a link to README.md means; its sections are included where they belong."""
SHOWN = "files"
"""Folder of the pages that show files."""

_LARGEST_FOLDER_BYTES = 2**16
_INCLUDE = re.compile(r'^<!-- section "(?P<title>[^"]+)" of (?P<path>\S+) -->$', re.MULTILINE)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "bash", ".toml": "toml", ".css": "css"}


class Page(NamedTuple):
    """A page as its source has it.

    Attributes:
        text: Markdown.
        home: the path in the repository by which its links are read.
    """

    text: str
    home: str


class PageError(Exception):
    """A page refers to what is not there; the message says all such places."""


@dataclass
class _Site:
    """The pages while they are written.

    Attributes:
        repository: where the files lie.
        homes: the path in the repository by which the links of each page are read.
        shown: the files and folders that pages link to, by the address of the page showing them.
        faults: what is wrong.
    """

    repository: Path
    homes: Mapping[str, str]
    shown: dict[str, Path] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def written(self, address: str, page: Page) -> str:
        """Write a page as the site needs it."""
        # Links come before sections, whose own are relative to another file.
        here = self._with_links(page.text, page.home, address)
        return _INCLUDE.sub(lambda match: self._section(match, page.home, address), here)

    def _section(self, match: re.Match[str], home: str, address: str) -> str:
        file = self.repository / match["path"]
        known = sections(file.read_text()) if file.is_file() else {}
        if match["title"] not in known:
            self.faults.append(
                f"{home}: {match['path']} has no section {match['title']!r}; it has "
                f"{', '.join(known) or 'none'}"
            )
        return self._with_links(known.get(match["title"], ""), match["path"], address)

    def _with_links(self, markdown: str, home: str, address: str) -> str:
        return with_links(markdown, lambda target: self._target(target, home, address))

    def _target(self, target: str, home: str, address: str) -> str:
        """Give the target of a link in the file ``home`` as the page at ``address`` needs it."""
        path, hash_sign, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return target
        path = posixpath.normpath(posixpath.join(posixpath.dirname(home), path))
        found = self._address_of(path)
        if found is None:
            self.faults.append(f"{home}: the link to {target} leads nowhere")
            return target
        return posixpath.relpath(found, posixpath.dirname(address) or ".") + hash_sign + anchor

    def _address_of(self, path: str) -> str | None:
        """Give the address of the page for a path of the repository; None if there is none."""
        known = HOME | {home: address for address, home in self.homes.items()}
        for one in (path, f"{path}/README.md"):
            if one in known:
                return known[one]
        file = self.repository / path
        if not file.exists() or path.startswith(".."):
            return None
        address = f"{SHOWN}/{path}.md"
        self.shown[address] = file
        return address


def generated(address: str, text: str) -> Page:
    """Give a page that is made, with links as if it lay among the prose."""
    return Page(text, f"{PROSE}/{address}")


def site(repository: Path, made: Mapping[str, Page]) -> dict[str, str]:
    """Write all pages.

    Args:
        repository: the folder of the repository.
        made: the pages that are made of something else, by their addresses.

    Returns:
        The Markdown of each page by its address, relative to the site's root.

    Raises:
        PageError: a link leads nowhere, or a section that a page includes is not there.
    """
    prose = {
        file.relative_to(repository / PROSE).as_posix(): file
        for file in sorted((repository / PROSE).rglob("*.md"))
    }
    files = prose | {address: repository / path for path, address in ELSEWHERE.items()}
    sources = {
        address: Page(file.read_text(), file.relative_to(repository).as_posix())
        for address, file in files.items()
    } | dict(made)
    whole = _Site(repository, {address: page.home for address, page in sources.items()})
    pages = {address: whole.written(address, page) for address, page in sources.items()}
    if whole.faults:
        raise PageError("\n".join(whole.faults))
    return pages | {address: _showing(repository, path) for address, path in whole.shown.items()}


def _showing(repository: Path, path: Path) -> str:
    """Show a file, or the files of a folder; of a large folder, their names alone."""
    parts = [f"# `{path.relative_to(repository).as_posix()}`"]
    files = [path] if path.is_file() else _files(path)
    if sum(file.stat().st_size for file in files) > _LARGEST_FOLDER_BYTES:
        parts.append("\n".join(f"- `{file.relative_to(path).as_posix()}`" for file in files))
        return "\n\n".join(parts) + "\n"
    for file in files:
        if file is not path:
            parts.append(f"## `{file.relative_to(path).as_posix()}`")
        parts.append(code_block(file.read_text(), _LANGUAGES.get(file.suffix, "text")))
    return "\n\n".join(parts) + "\n"


def _files(folder: Path) -> list[Path]:
    found = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return [file for file in found if file.parent.name != "__pycache__"]
