"""What comes of checking a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from omnimat.base.errors import UserError

_SHOWN = 3

Verdict = Literal["verified", "failed", "tampered", "unverifiable"]


class UnreachableError(Exception):
    """One sentence: a check lacks something that it needs, which says nothing against the row."""


class FaultError(Exception):
    """One sentence: something is so wrong that there is nothing further to check."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a check has seen and that is no fault."""

    text: str


Remark = str | Note
"""What a check has to say: a sentence for each fault, and notes of what is worth knowing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on one row.

    Attributes:
        row_id: the id that the row is stored under.
        label: the name that people know the row by.
        verdict: ``verified`` if every check has passed, ``failed`` if one has not, and ``tampered``
            if that row had been verified before. ``unverifiable`` if none has failed, but some
            could not be made.
        sentences: why, one for each thing found; each names the file and what differs.
        notes: what else was seen, such as how many materials were rightly left out.
    """

    row_id: str
    label: str
    verdict: Verdict
    sentences: Sequence[str] = ()
    notes: Sequence[str] = ()


@contextmanager
def blamed_on(what: str) -> Iterator[None]:
    """Turn errors in computing with what a row points to into a fault of that.

    Args:
        what: the file, or what cannot be computed from it.

    Raises:
        FaultError: instead of the error.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, UserError) as error:
        raise FaultError(f"{what}: {error}") from error


def named(material_ids: Any) -> str:
    """Name the first few of many materials."""
    ids = [str(material_id) for material_id in material_ids]
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more
