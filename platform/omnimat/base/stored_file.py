"""What a card says of a file that lies beside it."""

from __future__ import annotations

import hashlib
from typing import Self

from pydantic import Field

from omnimat.base.settings import Settings


class StoredFile(Settings):
    """What a file must be.

    Attributes:
        size_bytes: its size.
        sha256: its hash.
    """

    size_bytes: int = Field(ge=0)
    sha256: str

    @classmethod
    def of(cls, data: bytes | memoryview) -> Self:
        """Describe the content of a file."""
        return cls(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
