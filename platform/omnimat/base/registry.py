"""Finds parts by name: ours by import path, those of other packages by their entry points.

Each kind of part (modalities, encoders, sources, ...) has one registry. A package adds a part
without changing omnimat, by an entry point of the registry's group in its ``pyproject.toml``::

    [project.entry-points."omnimat.encoders"]
    my_encoder = "my_package.encoders:MyEncoderSettings"
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Generic, TypeVar, Union

from pydantic import BeforeValidator, Discriminator, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from omnimat.base.errors import UserError

T = TypeVar("T")


def imported(path: str) -> Any:
    """Import an object by its path ``module:name``."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


class Registry(Generic[T]):
    """All parts of one kind: first ours, then those of other packages in order of name.

    Attributes:
        group: group of the entry points that add parts.
        ours: import path (``module:name``) of each part of omnimat, by its name.
    """

    def __init__(self, group: str, ours: Mapping[str, str]) -> None:
        self.group, self.ours = group, dict(ours)

    @functools.cached_property
    def _others(self) -> Mapping[str, EntryPoint]:
        """Find the parts of other packages.

        Raises:
            UserError: two packages, or a package and omnimat, use the same name for two parts.
        """
        found: dict[str, EntryPoint] = {}
        for point in sorted(entry_points(group=self.group), key=lambda one: (one.name, one.value)):
            known = self.ours.get(point.name) or getattr(found.get(point.name), "value", None)
            if known not in {None, point.value}:
                raise UserError(
                    f"entry point {point.name!r} of {self.group}: both {known} and {point.value} "
                    "have this name; rename one, or uninstall its package"
                )
            found[point.name] = point
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all parts."""
        return (*self.ours, *(name for name in self._others if name not in self.ours))

    def load(self, name: str) -> T:
        """Import a part.

        Raises:
            UserError: no part has this name, or the package that has it cannot be imported.
        """
        if name in self.ours:
            part: T = imported(self.ours[name])
            return part
        if name not in self._others:
            raise UserError(
                f"{name!r} is unknown to {self.group}; choose one of {', '.join(self.names)}, or "
                "install the package that provides it"
            )
        point = self._others[name]
        try:
            other: T = point.load()
        except Exception as error:
            raise UserError(
                f"entry point {name!r} of {self.group} ({point.value}) cannot be imported: {error}"
            ) from error
        return other

    def load_all(self) -> dict[str, T]:
        """Import every part."""
        return {name: self.load(name) for name in self.names}


@dataclass(frozen=True)
class OneOf:
    """Annotates a key of a job file whose value is one of several settings, chosen by ``type``.

    ``Annotated[Encoder, OneOf(classes)]`` is an ``Encoder`` for a type checker, and the union of
    these classes for pydantic.

    Attributes:
        classes: settings classes with a literal ``type`` each, as a registry or a tuple.
        default: ``type`` if a file leaves it out; None if it must be written.
    """

    classes: Registry[type[Any]] | tuple[type[Any], ...]
    default: str | None = None

    @property
    def members(self) -> tuple[type[Any], ...]:
        """The settings classes."""
        if isinstance(self.classes, Registry):
            return tuple(dict.fromkeys(self.classes.load_all().values()))
        return self.classes

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Build the union's schema."""
        del source
        members = self.members
        if len(members) == 1:  # pydantic makes no union of a single class
            return handler.generate_schema(members[0])
        union: Any = Annotated[Union[members], Discriminator("type")]  # noqa: UP007
        if self.default is not None:
            union = Annotated[union, BeforeValidator(self._with_default)]
        return handler.generate_schema(union)

    def _with_default(self, values: Any) -> Any:
        return {"type": self.default, **values} if isinstance(values, Mapping) else values
