"""What comes of checking a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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
