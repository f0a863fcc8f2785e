"""What mkdocs calls: it hands the pages over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from documentation.everything import pages
from documentation.pages import PageError


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the pages, and list those of whole folders in the navigation."""
    try:
        config.extra["pages"] = pages()
    except PageError as error:
        raise PluginError(str(error)) from error
    config.nav = list(_listed(config.nav, list(config.extra["pages"])))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the pages in the place of the files that mkdocs has found."""
    for file in list(files.documentation_pages()):
        files.remove(file)
    for address, text in config.extra["pages"].items():
        files.append(File.generated(config, address, content=text))
    return files


def _listed(entries: Any, addresses: list[str]) -> Iterator[Any]:
    """Replace a folder by the pages in it, in the order in which they were made."""
    for entry in entries:
        if isinstance(entry, dict):
            yield {
                title: list(_listed(below, addresses)) if isinstance(below, list) else below
                for title, below in entry.items()
            }
        elif entry.endswith("/"):
            yield from (one for one in addresses if one.startswith(entry))
        else:
            yield entry
