"""What a prediction is made of; what was begun of something else does not go on."""

from __future__ import annotations

from typing import Self

from pydantic import ValidationError
from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.settings import Settings, fingerprint, first_mistake
from omnimat.inference.card import PackageCard
from omnimat.prediction.rows import DatasetRows
from omnimat.sources.base import Source
from omnimat.sources.inputs import check_inputs, input_files, save_inputs

ORIGIN = "origin.json"


class Origin(Settings):
    """What a prediction is made of, besides the files of a source, which have a list of their own.

    Attributes:
        model: fingerprint of the card, which holds the hashes of all other files of the package.
        dataset: fingerprint of the data set; None where the rows are those of a source.
    """

    model: str
    dataset: str | None

    @classmethod
    def of(cls, card: PackageCard, rows: Source) -> Self:
        """Describe a model and rows."""
        dataset = rows.fingerprint_of_data if isinstance(rows, DatasetRows) else None
        return cls(model=fingerprint(card.model_dump(mode="json")), dataset=dataset)


def check_origin(folder: UPath, now: Origin, rows: Source) -> None:
    """Insist that what was begun in a folder, if anything, was begun of the same.

    Raises:
        UserError: it was not; the sentence says what differs.
    """
    before = _remembered(folder)
    if before is None:
        return
    remedy = "choose another name, or begin anew beside it with --fresh"
    if before.model != now.model:
        raise UserError(f"model: {folder} was begun with another model than is there now; {remedy}")
    if before.dataset != now.dataset:
        raise UserError(
            f"dataset: {folder} was begun with other records than the data set has now; {remedy}"
        )
    check_inputs(rows, folder)


def remember_origin(folder: UPath, now: Origin, rows: Source) -> None:
    """Write down what is begun in a folder, or insist that it was begun of the same."""
    if _remembered(folder) is None:
        save_inputs(input_files(rows), folder)
        write_checked_json(folder / ORIGIN, now.model_dump(mode="json"))
    check_origin(folder, now, rows)


def _remembered(folder: UPath) -> Origin | None:
    path = folder / ORIGIN
    remedy = "restore it from a copy, or begin anew beside it with --fresh"
    try:
        return Origin.model_validate(read_checked_json(path, remedy))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({first_mistake(error)}): {remedy}") from error
