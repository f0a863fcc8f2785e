"""Mistakes in the values of a job file, as one sentence that names the key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from omnimat.base.registry import OneOf
from omnimat.base.words import suggestion

Mistake = tuple[type[BaseModel], ErrorDetails]
"""A settings class and what pydantic found wrong with values for it."""


def sentence(mistakes: Sequence[Mistake], flat_keys: Collection[str]) -> str:
    """Describe the first mistake, and say how many more there are.

    An unknown key counts as the first, since it often explains the others.

    Args:
        mistakes: what is wrong with the parts of one file.
        flat_keys: all keys that may stand at the top of the file, of whichever part.
    """
    ordered = sorted(mistakes, key=lambda mistake: mistake[1]["type"] != "extra_forbidden")
    settings, first = ordered[0]
    rest = f" (and {len(ordered) - 1} more)" if len(ordered) > 1 else ""
    keys, siblings = _locate(settings, first["loc"])
    if first["type"] == "extra_forbidden":
        known = siblings if len(keys) > 1 else flat_keys
        return f"unknown key {'.'.join(keys)!r}{suggestion(keys[-1], known)}{rest}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"].startswith("union_tag"):
        keys = [*keys, str(first["ctx"]["discriminator"]).strip("'")]
    if first["type"] == "union_tag_not_found":
        message = "Field required"
    return f"{'.'.join(keys)}: {message}{rest}" if keys else f"{message}{rest}"


def _locate(
    settings: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[list[str], set[str]]:
    """Follow pydantic's path, which mixes keys with names of union members, through the settings.

    Returns:
        The keys alone, and the names that are known where the last one stands.
    """
    keys: list[str] = []
    models = [settings]
    siblings: set[str] = set()
    in_mapping = False
    for depth, part in enumerate(location, start=1):
        if in_mapping:  # the part is a key that the user has chosen
            keys.append(str(part))
            in_mapping = False
            continue
        fields = {f.alias or n: f for model in models for n, f in model.model_fields.items()}
        if members := [m for m in models if part not in fields and part in _types_of(m)]:
            models = members
            continue
        is_key = part in fields or isinstance(part, int) or depth == len(location)
        if is_key:
            keys.append(str(part))
            siblings = set(fields)
        if part in fields:
            field = fields[str(part)]
            models = _models_in(field.annotation, field.metadata)
            in_mapping = _is_mapping(field.annotation)
    return keys, siblings


def _types_of(model: type[BaseModel]) -> tuple[Any, ...]:
    """Give the values of ``type`` by which a job file names a member of a union."""
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field else ()


def _is_mapping(annotation: Any) -> bool:
    """Say whether a type is a mapping, or may be one."""
    kind = get_origin(annotation)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return True
    return kind in {Union, UnionType} and any(map(_is_mapping, get_args(annotation)))


def _models_in(annotation: Any, metadata: Sequence[Any] = ()) -> list[type[BaseModel]]:
    """Give the settings classes that a type is made of; of a ``OneOf``, all that it may be."""
    if unions := [one for one in metadata if isinstance(one, OneOf)]:
        return [member for union in unions for member in union.members]
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return _models_in(inner, metadata)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
