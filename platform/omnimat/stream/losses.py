"""Records that a run had to do without, since they or their features could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from upath import UPath

from omnimat.base.checked_json import write_checked_json
from omnimat.base.errors import RunError

_SHOWN = 3

MaxQuarantined = Annotated[float, Field(ge=0, le=1)]
"""The largest share of its records that a run may lose; with more it ends."""
DEFAULT_MAX_QUARANTINED = 0.01
QUARANTINED = "quarantined.json"
"""Lies in the folder of a run that has lost more than it may, and so has no result."""


@dataclass(frozen=True, slots=True)
class Losses:
    """What was lost of a number of records.

    Attributes:
        reasons: maps the id of each quarantined material to what is wrong with it.
        num_records: how many records there are, with those.
        kept_in: file that lists the reasons under the key ``quarantined``.
    """

    reasons: Mapping[str, str]
    num_records: int
    kept_in: UPath

    def say(self, name: str) -> None:
        """Print a line on what a job of this name has lost, if it has lost anything."""
        if self.reasons:
            print(f"{name}: {self._count} are quarantined ({self._examples})", flush=True)

    def exceed(self, max_quarantined: float) -> bool:
        """Return whether a larger share was lost than is allowed."""
        return len(self.reasons) > max_quarantined * self.num_records

    def write(self) -> None:
        """Write all reasons to the file that the messages name.

        Raises:
            UserError: it may not be written.
            RunError: the storage did not answer.
        """
        write_checked_json(self.kept_in, {"quarantined": dict(self.reasons)})

    def check(self, max_quarantined: float) -> None:
        """Insist that no larger share was lost than is allowed.

        Raises:
            RunError: more was lost.
        """
        if self.exceed(max_quarantined):
            raise RunError(
                f"{self._count} are quarantined, more than max_quarantined {max_quarantined:g} "
                f"allows ({self._examples}): mend the data set, or raise max_quarantined and run "
                "the job again, which goes on with what is there"
            )

    @property
    def _count(self) -> str:
        return f"{len(self.reasons)} of {self.num_records} records"

    @property
    def _examples(self) -> str:
        first = [f"{key}: {why}" for key, why in list(self.reasons.items())[:_SHOWN]]
        return f"{'; '.join(first)}; all are under quarantined in {self.kept_in}"
