"""The predictions of a row, as they were when the row was written."""

from __future__ import annotations

import hashlib

from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.leaderboard.row import Row

MAX_FILE_BYTES = 1 << 30  # curves of a million materials


def read_predictions(row: Row, storage: Confined, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Read the file of a row's predictions, which only counts if it has the row's hash.

    Raises:
        UserError: if the row names no file of the storage, or the file was changed or is larger.
        RunError: if the storage does not answer.
    """
    name = row.predictions_uri
    try:
        data = storage.read(name, "predictions_uri", max_bytes)
    except FileNotFoundError:
        raise UserError(f"{name} of {row.label!r} is not in this storage") from None
    if hashlib.sha256(data).hexdigest() != row.predictions_sha256:
        raise UserError(
            f"{name} of {row.label!r} was changed after the row was written; omnimat "
            "leaderboard verify says what no longer holds"
        )
    return data
