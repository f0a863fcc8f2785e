"""What comes of checking a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

_SHOWN = 3

Verdict = Literal["verified", "failed", "tampered", "unverifiable"]


class UnreachableError(Exception):
    """One sentence: what a check needs and cannot have; it says nothing against the row."""


class FaultError(Exception):
    """One sentence: what is wrong, so that nothing further of this kind can be checked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on one row.

    Attributes:
        row_id: it is stored under.
        label: what people know it by.
        verdict: ``verified``: every check passed. ``failed``: one did not. ``tampered``: one did
            not, of a row that had been verified. ``unverifiable``: none failed, but some could not
            be made.
        sentences: why, one for each thing found; each names the file and what differs.
        notes: what else was seen, such as how many materials were rightly left out.
    """

    row_id: str
    label: str
    verdict: Verdict
    sentences: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Something seen by a check that is no fault."""

    text: str


Finding = str | Note
"""What a check gives: a sentence for each fault, a note for what is only worth knowing."""


def named(material_ids: Any) -> str:
    """Name the first few of many materials."""
    ids = [str(material_id) for material_id in material_ids]
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more
