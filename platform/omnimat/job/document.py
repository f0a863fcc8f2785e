"""YAML in which every key has a value and stands only once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from omnimat.base.errors import UserError

_NULL = "tag:yaml.org,2002:null"


def parsed(text: str, where: str) -> Any:
    """Read a YAML document strictly.

    YAML itself reads a forgotten value as null, which for many keys is the same as no key at all,
    and takes the last of two equal keys. A null that is written out is accepted.

    Args:
        text: the document.
        where: where it stands, as messages should say it.

    Raises:
        UserError: it is no YAML, or a key has no value or stands twice.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        if mistake := next(_wrong_keys(root, (), set()), None):
            raise UserError(f"{where}: {mistake}")
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is no YAML: {' '.join(str(error).split())}") from error


def _wrong_keys(node: yaml.Node, above: tuple[str, ...], seen: set[int]) -> Iterator[str]:
    """Say what is wrong with the keys of a document; through aliases it may contain itself."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _wrong_keys(child, (*above, str(index)), seen)
        return
    lines: dict[str, int] = {}
    for key, child in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        path = ".".join((*above, name))
        if name in lines:
            yield f"key {path!r} stands twice, in lines {lines[name]} and {line}; remove one"
        if child.tag == _NULL and child.value == "":
            yield (
                f"key {path!r} in line {line} has no value; write one ({{}} where it has keys of "
                "its own, null for none) or remove the key"
            )
        lines[name] = line
        yield from _wrong_keys(child, (*above, name), seen)
