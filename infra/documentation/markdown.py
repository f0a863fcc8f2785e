"""Markdown as far as the pages need it: its links, and its sections."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# Code is matched first, so that nothing in it is taken for a link.
_LINK_OR_CODE = re.compile(
    r"(?P<code>^(?P<fence>```+).*?^(?P=fence)$|`[^`\n]+`)|(?P<text>\]\()(?P<target>[^()\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


def with_links(markdown: str, changed: Callable[[str], str]) -> str:
    """Replace the target of each link outside of code by what ``changed`` makes of it."""

    def replace(match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        return f"{match['text']}{changed(match['target'])})"

    return _LINK_OR_CODE.sub(replace, markdown)


def sections(markdown: str) -> dict[str, str]:
    """Give what stands below each heading, up to the next one of its level or above it."""
    lines = markdown.splitlines()
    headings = list(_headings(lines))
    found = {}
    for place, (start, level, title) in enumerate(headings):
        later = (line for line, other, _ in headings[place + 1 :] if other <= level)
        found[title] = "\n".join(lines[start + 1 : next(later, len(lines))]).strip()
    return found


def code_block(text: str, language: str = "") -> str:
    """Write code between fences that are longer than any in it."""
    longest = max((len(one) for one in re.findall(r"^`{3,}", text, re.MULTILINE)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def cell(text: str) -> str:
    """Write a text into one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def sentence(text: str) -> str:
    """Begin with a capital letter, as docstrings of keys do not."""
    return text[:1].upper() + text[1:]


def _headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Give line, level and title of each heading."""
    is_code = False
    for place, line in enumerate(lines):
        is_code ^= line.startswith("```")
        if not is_code and (heading := re.fullmatch(r"(#+) (.+)", line)):
            yield place, len(heading[1]), heading[2].strip()
