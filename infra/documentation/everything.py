"""All pages of the site."""

from __future__ import annotations

from pathlib import Path

import yaml

import omnimat
from documentation import commands, house, job_files, python, tutorials
from documentation.pages import Page, generated, site
from omnimat.cli.main import main
from omnimat.job.header import JobHeader
from omnimat.job.schema import json_schema

REPOSITORY = Path(__file__).resolve().parents[2]


def pages(repository: Path = REPOSITORY) -> dict[str, str]:
    """Write all pages.

    Returns:
        The Markdown of each page by its address, relative to the site's root.

    Raises:
        PageError: a link leads nowhere, or a section that a page includes is not there.
    """
    of_files = job_files.pages(
        json_schema(), frozenset(JobHeader.model_fields), _examples(repository)
    )
    reference = of_files | {
        "reference/commands.md": commands.page(main, "omnimat"),
        "reference/python.md": python.page(omnimat.__all__),
        "reference/rooms.md": house.page(repository / "platform" / "omnimat"),
    }
    made = {address: generated(address, text) for address, text in reference.items()}
    return site(repository, made | _tutorials(repository))


def _tutorials(repository: Path) -> dict[str, Page]:
    scripts = sorted((repository / "jobs" / "tutorials").glob("*.py"))
    return {
        f"tutorials/{one.stem}.md": Page(
            tutorials.page(one.read_text()), one.relative_to(repository).as_posix()
        )
        for one in scripts
    }


def _examples(repository: Path) -> dict[str, str]:
    """Give a job file for each kind: called like it rather than not, and as high as can be."""
    jobs = repository / "jobs"
    ranked: dict[str, tuple[tuple[bool, int, str], str]] = {}
    for file in sorted(jobs.rglob("*.yaml")):
        text = file.read_text()
        kind = yaml.safe_load(text)["kind"]
        rank = (file.stem != kind, len(file.relative_to(jobs).parts), file.as_posix())
        ranked[kind] = min(ranked.get(kind, (rank, text)), (rank, text))
    return {kind: text for kind, (_, text) in ranked.items()}
