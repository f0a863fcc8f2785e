"""What a row tells of predictions that others have published, and that nobody here has made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from omnimat.base.settings import Settings
from omnimat.leaderboard.row import Row

IMPORTED = "imported"
"""The section and the variant of such rows, and the key of their ``details`` that tells this."""

_SHOWN_OF_A_HASH = 16  # characters


class Published(Settings):
    """Where the predictions of a row come from.

    Attributes:
        file: the name of the file that held them.
        file_sha256: its hash.
        file_uri: its copy in the storage.
        column: the column of the model's predictions.
        id_column: the column of the materials' ids.
        where: what other columns say in the rows that were taken.
        citation: who is to be cited for the model; empty where that was not told.
        licence: the licence of the file; empty where that was not told.
        source_url: where the file comes from; empty where that was not told.
        num_without_prediction: how many materials with a target the model does not predict, so that
            they do not judge it.
    """

    file: str
    file_sha256: str
    file_uri: str
    column: str
    id_column: str
    where: Mapping[str, str] = {}
    citation: str = ""
    licence: str = ""
    source_url: str = ""
    num_without_prediction: Annotated[int, Field(ge=0, strict=True)] = 0

    @property
    def sentence(self) -> str:
        """The same in words, with what nobody can know."""
        parts = [
            f"column {self.column} of {self.file}, sha256 {self.file_sha256[:_SHOWN_OF_A_HASH]}"
        ]
        parts += [self.source_url] if self.source_url else []
        parts += [f"licence {self.licence or 'not told'}", f"cite {self.citation or 'not told'}"]
        if missing := self.num_without_prediction:
            parts.append(f"{missing:,} material{'s' * (missing != 1)} without a prediction")
        return "; ".join([*parts, "hardware and training time are not known"])

    def as_details(self) -> dict[str, Any]:
        """Give what it adds to the details of a row."""
        return {IMPORTED: self.model_dump(mode="json", exclude_defaults=True)}


def is_imported(row: Row) -> bool:
    """Say whether a row's predictions were imported, so that nobody here has trained its model."""
    return row.section == IMPORTED


def published_in(details: Any) -> Published | None:
    """Read it from a row's ``details``; None where it is not, or cannot be read."""
    told = details.get(IMPORTED) if isinstance(details, Mapping) else None
    try:
        return None if told is None else Published.model_validate(told)
    except ValidationError:
        return None
