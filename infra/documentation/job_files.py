"""The reference of job files, made of their JSON Schema."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from documentation.keys import KeyTables, written
from documentation.markdown import cell, code_block, sentence
from documentation.parts import FOLDER, SHARED, Part, Schema, kinds_of, page_of, parts_of

_INDEX = f"{FOLDER}/index.md"
_INTRODUCTION = """\
# Job files

<!-- section "Job files" of README.md -->

## Kinds

| `kind` | what it does |
|---|---|"""
_BELOW_KINDS = """
Parts that several kinds have are described among the [shared parts](shared.md). The names of
numbers say their units: `cutoff_angstrom`, `stall_timeout_s`.

## Keys of every kind
"""


def pages(schema: Schema, common: frozenset[str], examples: Mapping[str, str]) -> dict[str, str]:
    """Write a page for each kind of job, one for what several kinds share, and one above them.

    Args:
        schema: the JSON Schema of all job files.
        common: the keys that files of every kind have.
        examples: a job file by its kind.

    Returns:
        The Markdown of each page by its address.
    """
    reference = _Reference(schema, common)
    of_kinds = {
        page_of(kind): reference.kind(kind, examples.get(kind)) for kind in kinds_of(schema)
    }
    return {_INDEX: reference.index()} | of_kinds | {SHARED: reference.shared()}


class _Reference:
    """The pages of one schema."""

    def __init__(self, schema: Schema, common: frozenset[str]) -> None:
        self._definitions: Schema = schema["$defs"]
        self._kinds, self._parts = kinds_of(schema), parts_of(schema)
        self._tables = KeyTables(self._definitions, self._parts)
        self._common = common

    def index(self) -> str:
        kinds = [
            f"| [`{kind}`]({posixpath.basename(page_of(kind))}) | {self._description(name)} |"
            for kind, name in self._kinds.items()
        ]
        any_kind = self._definitions[next(iter(self._kinds.values()))]
        keys = {key: one for key, one in any_kind["properties"].items() if key in self._common}
        table = self._tables.table(keys, any_kind["required"], _INDEX)
        return _lines(_INTRODUCTION, *kinds, _BELOW_KINDS, *table)

    def _description(self, name: str) -> str:
        return cell(self._definitions[name]["description"])

    def kind(self, kind: str, example: str | None) -> str:
        definition, address = self._definitions[self._kinds[kind]], page_of(kind)
        keys = {k: one for k, one in definition["properties"].items() if k not in self._common}
        return _lines(
            f"# Kind `{kind}`\n\n{definition['description']}\n",
            *([] if example is None else [code_block(example, "yaml") + "\n"]),
            "## Keys\n\nBesides the [keys of every kind](index.md#keys-of-every-kind):\n",
            *self._tables.table(keys, definition["required"], address),
            *self._sections(address),
        )

    def shared(self) -> str:
        start = "# Shared parts\n\nParts of job files that several kinds have."
        return _lines(start, *self._sections(SHARED))

    def _sections(self, address: str) -> Iterator[str]:
        for part in self._parts.values():
            if part.page == address:
                yield from self._section(part)

    def _section(self, part: Part) -> Iterator[str]:
        definition = self._definitions[part.name]
        keys = definition["properties"]
        first, *others = part.places
        kind = keys.get("type", {}).get("const")
        of_type = f", type {written(kind)}" if kind else ""
        yield f"\n## `{first}`{of_type} {{ #{part.anchor} }}\n"
        yield f"{sentence(definition['description'])}\n"
        if others:
            yield f"Also at {', '.join(written(one) for one in others)}.\n"
        yield from self._tables.table(keys, definition.get("required", ()), part.page)


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"
