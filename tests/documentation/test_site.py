"""The whole site, as ``make docs`` builds it."""

import os
import re
from pathlib import Path

import pytest
import yaml

CONFIG = Path(__file__).parents[2] / "infra" / "documentation" / "mkdocs.yml"
LOADED = re.compile(r"<(?:script|link|img|iframe|source)[^>]*?\s(?:src|href)=[\"']?([^\"'\s>]+)")
OF_LINKS = re.compile(r"<link[^>]*rel=[\"']?(?:canonical|next|prev)")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of the site; a warning of the build is an error."""
    if os.environ.get("CI") != "true":  # where it must be there, to import it fails
        pytest.importorskip("mkdocs", reason="mkdocs-material is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(CONFIG), site_dir=str(folder), strict=True))
    return folder


def addresses(nav) -> list[str]:
    """Give what a part of the navigation holds; ``folder/`` stands for all pages below it."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [address for part in parts for address in addresses(part)]


def test_every_page_is_in_the_navigation_once(pages):
    nav = addresses(yaml.safe_load(CONFIG.read_text().split("nav:\n")[-1]))
    assert len(set(nav)) == len(nav)
    folders = tuple(one for one in nav if one.endswith("/"))
    shown = {one for one in pages if not one.startswith("files/")}
    assert {one for one in shown if not one.startswith(folders)} == {*nav} - {*folders}
    for folder in folders:
        assert any(one.startswith(folder) for one in shown), folder


@pytest.mark.slow
def test_every_page_is_built_and_loads_nothing_from_other_hosts(built, pages):
    for address in pages:
        page = Path(address)
        parts = page.parent if page.stem == "index" else page.with_suffix("")
        text = (built / parts / "index.html").read_text()
        loaded = [found for found in LOADED.findall(text) if "//" in found]
        assert not loaded, address
    for style in built.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", style.read_text()), style


@pytest.mark.slow
def test_docstrings_are_in_the_reference(built):
    python = (built / "reference" / "python" / "index.html").read_text()
    assert "omnimat.load" in python
    assert "Open a packed model." in python
    parts = (built / "reference" / "parts" / "index.html").read_text()
    assert "Finds parts" not in parts  # the module, of which only the class is shown
    assert "All parts of one kind" in parts
