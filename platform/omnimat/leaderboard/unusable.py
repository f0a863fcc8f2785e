"""The error of a database that cannot be used, as opposed to rows that it refuses."""

from __future__ import annotations

from omnimat.base.errors import UserError


class UnusableError(UserError):
    """The database is damaged, or cannot be written, whatever rows are given."""
