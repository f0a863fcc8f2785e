"""Turns the bytes of a CIF file into data blocks, whose items are looked up by their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gemmi import cif

MAX_BYTES = 64 * 2**20
_MISSING = frozenset({"?", ".", ""})
# What is said of the crystal, by how the names of items begin.
_ITEMS = (
    "_cell_",
    "_atom_site_",
    "_atom_sites_",
    "_symmetry_",
    "_space_group_",
    "_chemical_",
    "_exptl_crystal_density_",
)


@dataclass(frozen=True, slots=True)
class Block:
    """A data block.

    Attributes:
        name: what stands behind ``data_``.
        items: the values of each item that says something of the crystal, one if it stands
            outside a loop. Names are in lower case, and a dot is an underscore, so that items of
            both generations of dictionaries agree.
    """

    name: str
    items: dict[str, list[str]]

    def column(self, *names: str) -> list[str] | None:
        """Return the values of the first item that has some; None if none has."""
        for name in names:
            if values := self.items.get(name):
                return values
        return None

    def value(self, *names: str) -> str | None:
        """Return the first known value of some items; None where all are ``?``, ``.`` or absent."""
        for name in names:
            for value in self.items.get(name, ()):
                if is_known(value):
                    return value
        return None

    def number(self, *names: str) -> float | None:
        """Return the first known value of some items; None if it is absent or no number."""
        text = self.value(*names)
        value = float("nan") if text is None else cif.as_number(text)
        return value if value == value else None


def is_known(text: str) -> bool:
    """Say whether a value is given, and not ``?`` (unknown) or ``.`` (does not apply)."""
    return text not in _MISSING


def blocks_of(text: str | bytes) -> list[Block]:
    """Parse a CIF; items that say nothing of the crystal are left out.

    Raises:
        ValueError: it breaks the syntax, or gives an item of the crystal twice with two values.
    """
    try:
        document = cif.read_string(decoded(text), 0)
        return [_block(one) for one in document]
    except (RuntimeError, ValueError) as error:
        place = re.match(r"string:(\d+)\S*\s*(.*)", str(error), re.DOTALL)
        reason = f"{place[2]} (line {place[1]})" if place else str(error)
        raise ValueError(f"broken CIF: {reason}") from error


def decoded(text: str | bytes) -> str:
    """Return the ASCII of a CIF, with ``?`` in the place of other characters.

    Only ASCII is allowed, and all that matters for a crystal is; names of authors are often in
    UTF-8 or Latin-1. A byte order mark and what pads the end of a file are left out.
    """
    if isinstance(text, bytes):
        text = text.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    plain = text.removeprefix("\ufeff").encode("ascii", "replace").decode("ascii")
    return plain.rstrip("\0\x1a")


def _block(block: cif.Block) -> Block:
    items: dict[str, list[str]] = {}
    for item in block:
        pair: Any = item.pair
        if pair is not None:
            if (name := _unified(pair[0])).startswith(_ITEMS):
                _add(items, name, [pair[1]])
        elif (loop := item.loop) is not None:
            names = [_unified(tag) for tag in loop.tags]
            ours = [index for index, name in enumerate(names) if name.startswith(_ITEMS)]
            values = loop.values if ours else []
            for index in ours:
                _add(items, names[index], values[index :: len(names)])
    return Block(block.name.strip(), items)


def _unified(name: str) -> str:
    return name.lower().replace(".", "_")


def _add(items: dict[str, list[str]], name: str, values: list[str]) -> None:
    """Add an item; one that is given twice counts where it is known.

    Raises:
        ValueError: it is given twice, with two values.
    """
    values = [_plain(value) for value in values]
    before = items.setdefault(name, values)
    if before == values or not any(map(is_known, values)):
        return
    if any(map(is_known, before)):
        raise ValueError(f"{name} is given twice, with two values")
    items[name] = values


def _plain(value: str) -> str:
    """Return a value without its quotation marks."""
    return str(cif.as_string(value)).strip() if value[:1] in {"'", '"', ";"} else value
