"""The base class of all settings: immutable, without unknown keys, infinity or NaN.

Results are found again by the *identity* of the settings that produced them. The identity leaves
out keys with their default, so a new key with a default does not make any result stale. It contains
``revision``: raising it after a default was changed, or a featurizer corrected, makes the results
that depend on it stale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import to_jsonable_python


class Settings(BaseModel):
    """An immutable part of a job file; unknown keys and numbers that are not finite are errors.

    Attributes:
        revision: number that is raised whenever the meaning of these settings changes: a default,
            or what is computed from them.
        of_the_machine: keys that determine where and how fast something runs, but not its result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    revision: ClassVar[int] = 1
    of_the_machine: ClassVar[frozenset[str]] = frozenset()

    def fingerprint(self) -> str:
        """Hash what determines the result: settings with equal fingerprints have equal results."""
        return fingerprint(identity(self))

    def claim(self) -> str:
        """Hash what must not change during a run; by default, that is everything."""
        return self.fingerprint()


class PresetSettings(Settings):
    """Settings whose ``preset`` names a set of defaults that other keys may override.

    Attributes:
        preset: name of a set of defaults, which other keys override.
    """

    # The preset is left out of the identity, because the values for which it stands are in it.
    of_the_machine: ClassVar[frozenset[str]] = frozenset({"preset"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}
    preset: str = "paper"

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        name = values.get("preset", cls.model_fields["preset"].default)
        if not isinstance(name, str) or name not in cls.presets:
            raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(cls.presets)}")
        return {**cls.presets[name], **values}


def identity(value: Any) -> Any:
    """Return what distinguishes settings from others, as JSON.

    For settings, these are the keys that determine the result and do not have their default, the
    ``type`` that distinguishes one class from another, and ``revision`` unless it is 1. A settings
    object whose revision was raised is kept even if it is the default. Equal numbers are written in
    the same way: 1.0 as 1.

    Args:
        value: settings, or a mapping or sequence of settings.
    """
    return _identity(value, with_revisions=True)


def fingerprint(value: Any) -> str:
    """Hash a JSON-like value in canonical form to 16 hexadecimal digits."""
    return hashlib.sha256(_canonical(value).encode()).hexdigest()[:16]


def first_mistake(error: ValidationError) -> str:
    """Say what is wrong with the first key that settings refuse: ``training.lr: why``."""
    first = error.errors()[0]
    where, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def _identity(value: Any, *, with_revisions: bool) -> Any:
    if isinstance(value, Settings):
        return dict(_kept_keys(value, with_revisions=with_revisions))
    if isinstance(value, Mapping):
        return {key: _identity(one, with_revisions=with_revisions) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_identity(one, with_revisions=with_revisions) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return to_jsonable_python(value)


def _kept_keys(settings: Settings, *, with_revisions: bool) -> Iterator[tuple[str, Any]]:
    if with_revisions and settings.revision != 1:
        yield "revision", settings.revision
    for name, field in type(settings).model_fields.items():
        if name in settings.of_the_machine:
            continue
        kept = _identity(getattr(settings, name), with_revisions=with_revisions)
        if name == "type" or field.is_required():
            yield name, kept
            continue
        default = field.get_default(call_default_factory=True, validated_data=vars(settings))
        # The default is taken without revisions, so that it is kept if a revision was raised in it.
        if _canonical(kept) != _canonical(_identity(default, with_revisions=False)):
            yield name, kept


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
