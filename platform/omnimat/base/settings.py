"""The base of every typed setting: frozen, closed to unknown keys, and with named presets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


class Settings(BaseModel):
    """A frozen piece of a job file; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def fingerprint(self) -> str:
        """Hash every value; equal settings have equal fingerprints."""
        return fingerprint(self.model_dump(mode="json"))

    def claim(self) -> str:
        """Hash what a run must keep from its begin to its end: here, all that is hashed."""
        return self.fingerprint()


class PresetSettings(Settings):
    """Settings whose ``preset`` names a set of defaults that other keys may override."""

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


def fingerprint(value: Any) -> str:
    """Hash a JSON-like value in canonical form to 16 hexadecimal digits."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
