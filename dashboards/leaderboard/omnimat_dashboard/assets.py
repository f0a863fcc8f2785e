"""The files beside the pages: our script and style, and plotly's script from its package."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from plotly.offline import get_plotlyjs

_OWN = {
    "site.css": "text/css; charset=utf-8",
    "models.css": "text/css; charset=utf-8",
    "board.css": "text/css; charset=utf-8",
    "result.css": "text/css; charset=utf-8",
    "plotly.css": "text/css; charset=utf-8",
    "materials.css": "text/css; charset=utf-8",
    "theme.js": "text/javascript; charset=utf-8",
    "runs.css": "text/css; charset=utf-8",
    "site.js": "text/javascript; charset=utf-8",
    "plots.js": "text/javascript; charset=utf-8",
    "crystal.js": "text/javascript; charset=utf-8",
    "search.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_PLOTLY = "plotly.min.js"
NAMES = (*_OWN, _PLOTLY)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file.

    Attributes:
        content: the bytes of the file.
        compressed: the same compressed by gzip, once, since plotly takes a tenth of a second.
        media_type: the type of the content.
    """

    content: bytes
    compressed: bytes
    media_type: str


@cache
def asset(name: str) -> Asset:
    """Read one of ``NAMES``."""
    if name == _PLOTLY:
        content, media_type = get_plotlyjs().encode(), "text/javascript; charset=utf-8"
    else:
        content = files("omnimat_dashboard").joinpath("static", name).read_bytes()
        media_type = _OWN[name]
    return Asset(content, gzip.compress(content, mtime=0), media_type)


@cache
def fingerprint_of_assets() -> str:
    """Give a token that addresses contain, so that browsers may keep the files for ever."""
    digest = hashlib.sha256()
    for name in NAMES:
        digest.update(asset(name).content)
    return digest.hexdigest()[:12]


@cache
def plotly_style_ids() -> tuple[str, ...]:
    """Find the ids of the style elements that plotly adds when it loads, unless they are there.

    Our policy forbids adding style elements. They are empty here, since one of them is for
    geographic maps, which no page has.
    """
    found = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', asset(_PLOTLY).content)
    return tuple(sorted({name.decode() for name in found}))
