"""Tables of the keys of job files: what each may hold, its default, and what it is for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import yaml

from documentation.markdown import cell, sentence
from documentation.parts import FOLDER, Part, Schema, references

_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_TYPES = {"string": "text", "boolean": "`true` or `false`", "null": "`null`"}


class KeyTables:
    """Writes tables of keys.

    Attributes:
        definitions: all settings by their names in the schema.
        parts: those that have a section to link to.
    """

    def __init__(self, definitions: Schema, parts: Mapping[str, Part]) -> None:
        self.definitions, self.parts = definitions, parts

    def table(self, keys: Schema, required: Collection[str], address: str) -> list[str]:
        """Give the lines of a table.

        Args:
            keys: what the schema says of each key.
            required: the keys that must be given.
            address: address of the page that the table stands on.
        """
        rows = ["| key | value | default | what it says |", "|---|---|---|---|"]
        for key, schema in keys.items():
            default = "required" if key in required else self.default(schema)
            told = schema.get("description") or self._told_below(schema)
            cells = (f"`{key}`", self.value(schema, address), default, sentence(told))
            rows.append(f"| {' | '.join(map(cell, cells))} |")
        return rows

    def value(self, schema: Schema, address: str) -> str:
        """Say what a key may hold; settings are links to their sections."""
        if "const" in schema:
            return written(schema["const"])
        if "enum" in schema:
            return ", ".join(map(written, schema["enum"]))
        if "$ref" in schema:
            ((_, name),) = references(schema)
            return self._link(name, address)
        choices = schema.get("oneOf") or schema.get("anyOf")
        if choices:
            return " or ".join(dict.fromkeys(self.value(one, address) for one in choices))
        return self._plain(schema, address)

    def default(self, schema: Schema) -> str:
        """Say what counts if a key is left out."""
        default = schema.get("default")
        if "default" not in schema:
            return ""
        if not isinstance(default, Mapping) or not any(references(schema)):
            return written(default)
        changed = self._unlike_its_class(schema, default)
        return written(changed) if changed else "its defaults"

    def _plain(self, schema: Schema, address: str) -> str:
        kind = str(schema.get("type", "anything"))
        if "prefixItems" in schema:
            return f"list: {', '.join(self.value(one, address) for one in schema['prefixItems'])}"
        if kind == "array":
            return f"list of {self.value(schema['items'], address)}"
        if kind == "object":
            values = schema.get("additionalProperties")
            held = self.value(values, address) if isinstance(values, Mapping) else "anything"
            return f"names, each with {held}"
        limits = [f"{sign} {schema[key]:g}" for key, sign in _LIMITS.items() if key in schema]
        return f"{_TYPES.get(kind, kind)} {' and '.join(limits)}".strip()

    def _link(self, name: str, address: str) -> str:
        part, definition = self.parts[name], self.definitions[name]
        kind = definition["properties"].get("type", {}).get("const")
        page = "" if part.page == address else part.page.removeprefix(f"{FOLDER}/")
        return f"[{written(kind) if kind else 'keys'}]({page}#{part.anchor})"

    def _told_below(self, schema: Schema) -> str:
        """Give what is said of the settings that a key holds, if nothing is said of the key."""
        told = [self.definitions[name].get("description", "") for _, name in references(schema)]
        return str(told[0]).partition("\n")[0] if len(told) == 1 else ""

    def _unlike_its_class(self, schema: Schema, default: Schema) -> dict[str, Any]:
        """Give those keys of default settings that do not have the default of their class."""
        classes = (self.definitions[name]["properties"] for _, name in references(schema))
        own = next(one for one in classes if _has_type(one, default.get("type")))
        return {
            key: value
            for key, value in default.items()
            if key == "type" or value != own[key].get("default")
        }


def written(value: Any) -> str:
    """Write a value as a job file has it, on one line, as code."""
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True
    )
    code = text.strip().removesuffix("...").rstrip()  # which ends a bare value
    return f"`{code}`"


def _has_type(keys: Schema, kind: Any) -> bool:
    """Say whether settings are of a ``type``; those without one are of type None."""
    return bool(keys.get("type", {}).get("const") == kind)
