"""YAML that says one thing: each key once, with a value, and every number finite."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from omnimat.base.characters import hidden_in
from omnimat.base.errors import UserError
from omnimat.base.words import shortened

MAX_CHARACTERS = 2**18
MAX_VALUES = 100_000
"""How many values a document may have once each alias is replaced by what it stands for."""

_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"
# YAML 1.1 takes 1e9 for text, and settings take that text for a number.
_EXPONENTIAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)e[-+]?\d+", re.IGNORECASE)


def parsed(text: str, where: str) -> Any:
    """Read a YAML document strictly.

    YAML itself reads a forgotten value as null, which for many keys is the same as no key at all,
    and takes the last of two equal keys. A null that is written out is accepted.

    Args:
        text: the document.
        where: where it stands, as messages should say it.

    Raises:
        UserError: it is no YAML or too large, a key has no value or stands twice, a number is not
            finite, or a text holds a character that nobody sees.
    """
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{where} has over {MAX_CHARACTERS} characters; give a shorter one")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _Check(loader).count(root, ())
        return loader.construct_document(root)
    except _Mistake as mistake:
        raise UserError(f"{where}: {mistake}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise UserError(f"{where} is nested too deeply; give a flatter one") from None


def override(values: dict[str, Any], told: str) -> None:
    """Put another value into the values of a document.

    Args:
        values: the values, which are changed.
        told: ``key.key=value``, with the value as in YAML.

    Raises:
        UserError: it is not written so, or a key holds no keys.
    """
    keys, equals, text = told.partition("=")
    where = f"--set {shortened(told)}"
    if not equals:
        raise UserError(f"{where}: write it as key.key=value")
    *parents, last = keys.split(".")
    for key in parents:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise UserError(f"{where}: {key!r} holds a value, not keys")
    if not text.strip():
        raise UserError(f"{where}: the value is missing; write null for none")
    values[last] = parsed(text, where)


# What PyYAML lets out of values that look like a number or a date, or are tagged as one.
_CANNOT_CONSTRUCT = (ValueError, AttributeError, LookupError)


class _Mistake(Exception):
    """What is wrong, with the key and the line."""


class _Check:
    """Looks at each node once, even if many aliases refer to it."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._counts: dict[int, int] = {}
        self._open: set[int] = set()

    def count(self, node: yaml.Node, keys: tuple[str, ...]) -> int:
        """Count a node and those below it, with aliases replaced by what they stand for.

        Raises:
            _Mistake: something is wrong with one of them, or they are too many.
        """
        if id(node) in self._open:
            raise _Mistake(f"{_place(node, keys)} refers to itself; write it without the alias")
        if id(node) not in self._counts:
            self._open.add(id(node))
            self._counts[id(node)] = 1 + sum(self.count(*one) for one in self._below(node, keys))
            self._open.remove(id(node))
        if self._counts[id(node)] > MAX_VALUES:
            raise _Mistake(
                f"{_place(node, keys)} stands for over {MAX_VALUES} values, as its aliases repeat "
                "others; write it with fewer"
            )
        return self._counts[id(node)]

    def _below(
        self, node: yaml.Node, keys: tuple[str, ...]
    ) -> Iterator[tuple[yaml.Node, tuple[str, ...]]]:
        if isinstance(node, yaml.MappingNode):
            for name, key, child in _members(node, keys):
                if key.tag != _MERGE:
                    yield key, (*keys, name)
                yield child, (*keys, name)
        elif isinstance(node, yaml.SequenceNode):
            yield from ((child, (*keys, str(place))) for place, child in enumerate(node.value))
        elif isinstance(node, yaml.ScalarNode):
            self._check_scalar(node, keys)

    def _check_scalar(self, node: yaml.ScalarNode, keys: tuple[str, ...]) -> None:
        try:
            value = self._loader.construct_object(node)
        except _CANNOT_CONSTRUCT as error:
            raise _Mistake(f"{_place(node, keys)} cannot be read: {error}; quote it") from error
        is_number = isinstance(value, float) or (
            isinstance(value, str) and node.style is None and _EXPONENTIAL.fullmatch(value)
        )
        if is_number and not math.isfinite(float(value)):
            raise _Mistake(
                f"{_place(node, keys)} is {node.value}, which is no finite number; give one"
            )
        if found := hidden_in(value):
            raise _Mistake(f"{_place(node, keys)} holds the hidden character {found}; remove it")


def _members(
    node: yaml.MappingNode, above: tuple[str, ...]
) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Give name, key and value of each member of a mapping."""
    lines: dict[str, int] = {}
    for key, child in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        path = ".".join((*above, name))
        if name in lines:
            raise _Mistake(
                f"key {path!r} stands twice, in lines {lines[name]} and {line}; remove one"
            )
        if child.tag == _NULL and child.value == "":
            raise _Mistake(
                f"key {path!r} in line {line} has no value; write one ({{}} where it has keys of "
                "its own, null for none) or remove the key"
            )
        lines[name] = line
        yield name, key, child


def _place(node: yaml.Node, keys: tuple[str, ...]) -> str:
    line = node.start_mark.line + 1
    return f"key {'.'.join(keys)!r} in line {line}" if keys else f"the value in line {line}"
