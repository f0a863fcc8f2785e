"""What became of a prediction so far, and at its end its result. No Ray in here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from upath import UPath

from omnimat import __version__
from omnimat.base.checked_json import write_checked_json
from omnimat.base.files import parquet_bytes, write_atomically
from omnimat.base.lease import CheckHeld
from omnimat.base.workspace import RESULT
from omnimat.modalities.layout import ID_COLUMN
from omnimat.prediction.origin import Origin
from omnimat.prediction.parts import PartFile, PartReport
from omnimat.prediction.rows import Part
from omnimat.prediction.settings import AppliedSettings
from omnimat.stream.losses import Losses

QUARANTINED = "quarantined.parquet"
_COLUMNS = pa.schema([(ID_COLUMN, pa.string()), ("reason", pa.string()), ("part", pa.int32())])


class Progress:
    """What became of the parts so far.

    Attributes:
        folder: where the job writes.
        parts: all parts.
        reports: of those that are there, by number.
        num_rows: how many rows the input has, as far as is known; a file may turn out to hold many.
        num_done: how many of them are accounted for.
        num_quarantined: how many of these are quarantined.
    """

    def __init__(self, folder: UPath, parts: Sequence[Part]) -> None:
        self.folder, self.parts = folder, parts
        self.reports: dict[int, PartReport] = {}
        self.num_rows = sum(part.stop - part.start for part in parts)
        self.num_done = self.num_quarantined = 0

    def add(self, number: int, report: PartReport) -> None:
        """Note that a part is there."""
        part = self.parts[number]
        self.reports[number] = report
        self.num_rows += report.num_rows - (part.stop - part.start)
        self.num_done += report.num_rows
        self.num_quarantined += len(report.quarantined)

    @property
    def missing(self) -> list[Part]:
        """The parts that are not there yet."""
        return [part for part in self.parts if part.number not in self.reports]

    @property
    def seconds(self) -> Counter[str]:
        """What each stage took of one core or GPU, over all parts."""
        total: Counter[str] = Counter()
        for report in self.reports.values():
            total.update(report.seconds)
        return total

    @property
    def losses(self) -> Losses:
        """What was lost; an id that comes again carries its place in the list."""
        reasons: dict[str, str] = {}
        for place, row in enumerate(self.quarantined().to_pylist()):
            name = row[ID_COLUMN]
            reasons[f"{name} ({place})" if name in reasons else name] = row["reason"]
        return Losses(reasons, self.num_rows, self.folder / QUARANTINED)

    def quarantined(self) -> pa.Table:
        """List what is quarantined, in the order of the input."""
        rows = [
            {ID_COLUMN: name, "reason": why, "part": number}
            for number, report in sorted(self.reports.items())
            for name, why in report.quarantined
        ]
        return pa.Table.from_pylist(rows, _COLUMNS)

    def write_quarantined(self) -> PartFile:
        """Write that list."""
        table = self.quarantined()
        data = parquet_bytes(table)
        write_atomically(self.folder / QUARANTINED, data)
        return PartFile.named(QUARANTINED, data, len(table))


def write_result(
    progress: Progress,
    settings: AppliedSettings,
    origin: Origin,
    quarantined: PartFile,
    check_held: CheckHeld,
) -> None:
    """Write the result of a prediction whose parts are all there, which makes it finished.

    The list of its files and of their hashes depends on model and input alone.

    Args:
        progress: what became of the parts.
        settings: what was asked.
        origin: of what.
        quarantined: the file that lists what is in no part.
        check_held: makes sure that the folder is still held.

    Raises:
        LostError: it is not, and nothing was written.
    """
    reports = [progress.reports[part.number] for part in progress.parts]
    content: dict[str, Any] = {
        "config_hash": settings.fingerprint(),
        "settings": settings.model_dump(mode="json"),
        "omnimat": __version__,
        "origin": origin.model_dump(mode="json"),
        "num_rows": sum(report.file.num_rows for report in reports),
        "num_quarantined": progress.num_quarantined,
        "parts": [report.file.model_dump(mode="json") for report in reports],
        "quarantined": quarantined.model_dump(mode="json"),
        "seconds": dict(progress.seconds),
    }
    check_held()
    write_checked_json(progress.folder / RESULT, content)
