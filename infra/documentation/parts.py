"""The parts of job files that have keys of their own, as their JSON Schema tells them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
FOLDER = "reference/job-files"
SHARED = f"{FOLDER}/shared.md"
_PREFIX = "#/$defs/"


@dataclass(frozen=True)
class Part:
    """Settings that have a section of their own.

    Attributes:
        name: their name in the schema.
        places: where they stand in job files: ``training``, ``modalities.dos.encoder``.
        kinds: the kinds of job that have them.
    """

    name: str
    places: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def page(self) -> str:
        """Address of the page that describes them."""
        return page_of(self.kinds[0]) if len(self.kinds) == 1 else SHARED

    @property
    def anchor(self) -> str:
        """Anchor of their section."""
        return self.name.lower()


def page_of(kind: str) -> str:
    """Give the address of the page of a kind of job; ``index.md`` is the page above them all."""
    return f"{FOLDER}/{'index-job' if kind == 'index' else kind}.md"


def kinds_of(schema: Schema) -> dict[str, str]:
    """Give the name in the schema of each kind of job."""
    names = [_name(one["$ref"]) for one in schema["oneOf"]]
    return {schema["$defs"][name]["properties"]["kind"]["const"]: name for name in names}


def parts_of(schema: Schema) -> dict[str, Part]:
    """Find all parts, by their names in the schema, and every place of each."""
    places: dict[str, dict[str, None]] = {}
    kinds: dict[str, dict[str, None]] = {}
    for kind, root in kinds_of(schema).items():
        for place, name in _below(schema["$defs"], root, "", ()):
            places.setdefault(name, {})[place] = None
            kinds.setdefault(name, {})[kind] = None
    return {name: Part(name, tuple(places[name]), tuple(kinds[name])) for name in places}


def references(value: Schema) -> Iterator[tuple[str, str]]:
    """Give the settings that a value may hold.

    Yields:
        What is written after the value's key to come to them (``""``, ``[]``, ``.NAME``), and
        their name in the schema.
    """
    if "$ref" in value:
        yield "", _name(value["$ref"])
    for choices in ("anyOf", "oneOf"):
        for one in value.get(choices, ()):
            yield from references(one)
    for key, ending in (("items", "[]"), ("additionalProperties", ".NAME")):
        if isinstance(value.get(key), Mapping):
            yield from ((ending + more, name) for more, name in references(value[key]))


def _below(
    definitions: Schema, name: str, above: str, open_: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """Give place and name of all settings below some; those that hold themselves, once."""
    for key, value in definitions[name]["properties"].items():
        for ending, below in references(value):
            place = f"{above}{key}{ending}"
            yield place, below
            if below not in open_:
                yield from _below(definitions, below, f"{place}.", (*open_, below))


def _name(reference: str) -> str:
    return reference.removeprefix(_PREFIX)
