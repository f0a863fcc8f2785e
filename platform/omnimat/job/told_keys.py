"""What docstrings say of settings and of their keys, for readers of the JSON Schema.

A key is described in the ``Attributes`` of its class, or in the string below it. That of a class
counts before that of the classes that it is made from.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

_ATTRIBUTES = re.compile(r"^Attributes:\n(?P<entries>(?:(?:[ ]{4}.*)?(?:\n|\Z))*)", re.MULTILINE)
_ENTRY = re.compile(
    r"^[ ]{4}(?P<key>\w+): (?P<text>.*(?:\n[ ]{5,}.*|\n(?=\n[ ]{5}))*)", re.MULTILINE
)


def of_class(settings: type[BaseModel]) -> str:
    """Give what the docstring of settings says, without its list of keys."""
    return _as_markdown(_ATTRIBUTES.sub("", _docstring(settings)))


def of_keys(settings: type[BaseModel]) -> dict[str, str]:
    """Give what is said of each key of settings; a key of which nothing is said is left out."""
    told: dict[str, str] = {}
    for one in reversed(settings.__mro__):
        told |= dict(_below_keys(one)) | dict(_in_attributes(one))
    return {key: _as_markdown(told[key]) for key in settings.model_fields if key in told}


def _in_attributes(settings: type) -> Iterator[tuple[str, str]]:
    """Read the section of a class's own docstring."""
    if section := _ATTRIBUTES.search(_docstring(settings)):
        for entry in _ENTRY.finditer(section["entries"]):
            yield entry["key"], entry["text"]


def _below_keys(settings: type) -> Iterator[tuple[str, str]]:
    """Read the strings below the keys; a class that a program made has none."""
    body = _classes(settings.__module__).get(settings.__qualname__, [])
    for statement, below in itertools.pairwise(body):
        match statement, below:
            case (
                ast.AnnAssign(target=ast.Name(id=key)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield key, inspect.cleandoc(text)


@functools.cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """Parse the classes that a file defines at its top."""
    path = getattr(sys.modules[module], "__file__", None)
    if path is None or not Path(path).is_file():  # of a built-in, or frozen into a program
        return {}
    nodes = ast.parse(Path(path).read_bytes()).body
    return {node.name: node.body for node in nodes if isinstance(node, ast.ClassDef)}


def _docstring(settings: type) -> str:
    return inspect.cleandoc(settings.__doc__ or "")


def _as_markdown(text: str) -> str:
    """Join the lines of each paragraph, and mark code as Markdown does."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(one.split()) for one in paragraphs).replace("``", "`")
