"""What comes of checking a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from omnimat.base.errors import RunError, UserError

_SHOWN = 3

_T = TypeVar("_T")

Verdict = Literal["recomputed", "reproduced", "failed", "tampered", "unverifiable"]


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
        verdict: ``recomputed`` if every check of its files has passed, and ``reproduced`` if its
            checkpoint was run again too. ``failed`` if a check has not passed, and ``tampered`` if
            that row had been checked before. ``unverifiable`` if none has failed, but some could
            not be made.
        sentences: why, one for each thing found; each names the file and what differs.
        notes: what else was seen, such as how many materials were rightly left out.
        is_not_rerun: whether its checkpoint was to be run again and could not be; a note says why.
    """

    row_id: str
    label: str
    verdict: Verdict
    sentences: Sequence[str] = ()
    notes: Sequence[str] = ()
    is_not_rerun: bool = False


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


def reached(name: str, read: Callable[[], _T]) -> _T:
    """Read what a row points to.

    Args:
        name: what the row calls it.
        read: reads it from the storage.

    Raises:
        UnreachableError: if it is not there, lies outside the storage or cannot be read.
    """
    try:
        return read()
    except FileNotFoundError as error:
        raise UnreachableError(f"{name} is not in this storage") from error
    except (OSError, UserError, RunError) as error:
        raise UnreachableError(str(error)) from error


def named(material_ids: Any) -> str:
    """Name the first few of many materials."""
    ids = [str(material_id) for material_id in material_ids]
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more
