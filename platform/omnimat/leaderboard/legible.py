"""Text of rows: what strangers may call their models, and what lies in a database already."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationInfo, field_validator

from omnimat.base.characters import LAYOUT, hidden_in
from omnimat.base.settings import Settings

AS_STORED = "as stored"
"""The context in which rows of a database are read: what is there is shown, escaped."""


class LegibleSettings(Settings):
    """Settings whose text holds no character that nobody sees.

    Text within a field, as in a configuration, may have several lines; a field itself has one.
    """

    @field_validator("*")
    @classmethod
    def _is_legible(cls, value: Any, info: ValidationInfo) -> Any:
        allowed = "" if isinstance(value, str) else LAYOUT
        if info.context != AS_STORED and (found := hidden_in(value, allowed)):
            raise ValueError(f"it holds the hidden character {found}; write it without")
        return value
