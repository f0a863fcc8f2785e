"""Records that a run had to do without, since they or their features could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from upath import UPath

from omnimat.base.errors import RunError

_SHOWN = 3

MaxQuarantined = Annotated[float, Field(ge=0, le=1)]
"""The largest share of its records that a run may lose; with more it ends."""
DEFAULT_MAX_QUARANTINED = 0.01


@dataclass(frozen=True, slots=True)
class Losses:
    """What was lost of a number of records.

    Attributes:
        reasons: maps the id of each quarantined material to what is wrong with it.
        num_records: how many records there are, with those.
        kept_in: file that lists the reasons, or is going to, under the key ``quarantined``.
    """

    reasons: Mapping[str, str]
    num_records: int
    kept_in: UPath

    def say(self, name: str) -> None:
        """Print a line on what a job of this name has lost, if it has lost anything."""
        if self.reasons:
            print(f"{name}: {self._count} are quarantined ({self._examples})", flush=True)

    def check(self, max_quarantined: float) -> None:
        """Insist that no larger share was lost than is allowed.

        Raises:
            RunError: more was lost.
        """
        if len(self.reasons) > max_quarantined * self.num_records:
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
