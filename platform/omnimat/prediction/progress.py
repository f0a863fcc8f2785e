"""What became of a prediction so far, and at its end its result. No Ray in here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from upath import UPath

from omnimat import __version__
from omnimat.base.checked_json import write_checked_json
from omnimat.base.files import write_atomically
from omnimat.base.lease import CheckHeld
from omnimat.base.workspace import RESULT
from omnimat.modalities.layout import ID_COLUMN
from omnimat.prediction.answers import to_parquet
from omnimat.prediction.origin import Origin
from omnimat.prediction.parts import PartFile, PartReport
from omnimat.prediction.rows import Part
from omnimat.prediction.settings import PredictSettings
from omnimat.stream.losses import Losses

QUARANTINED = "quarantined.parquet"
_COLUMNS = pa.schema([(ID_COLUMN, pa.string()), ("reason", pa.string()), ("part", pa.int32())])


@dataclass
class Progress:
    """What became of the parts so far.

    Attributes:
        folder: where the job writes.
        parts: all parts.
        reports: of those that are there, by number.
    """

    folder: UPath
    parts: Sequence[Part]
    reports: dict[int, PartReport] = field(default_factory=dict)

    @property
    def missing(self) -> list[Part]:
        """The parts that are not there yet."""
        return [part for part in self.parts if part.number not in self.reports]

    @property
    def num_rows(self) -> int:
        """How many rows the input has, as far as is known; a file may turn out to hold many."""
        return sum(
            part.stop - part.start
            if part.number not in self.reports
            else self.reports[part.number].num_rows
            for part in self.parts
        )

    @property
    def num_done(self) -> int:
        """How many rows of the input are accounted for."""
        return sum(report.num_rows for report in self.reports.values())

    @property
    def num_quarantined(self) -> int:
        """How many of these are quarantined."""
        return sum(len(report.quarantined) for report in self.reports.values())

    @property
    def seconds(self) -> Counter[str]:
        """What each stage took of one core or GPU, over all parts."""
        total: Counter[str] = Counter()
        for report in self.reports.values():
            total.update(report.seconds)
        return total

    @property
    def losses(self) -> Losses:
        """What was lost; several reasons of one id are joined."""
        reasons: dict[str, str] = {}
        for row in self.quarantined().to_pylist():
            name, why = row[ID_COLUMN], row["reason"]
            reasons[name] = f"{reasons[name]}; {why}" if name in reasons else why
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
        data = to_parquet(table)
        write_atomically(self.folder / QUARANTINED, data)
        return PartFile.of(QUARANTINED, data, len(table))


def write_result(
    progress: Progress, settings: PredictSettings, origin: Origin, check_held: CheckHeld
) -> None:
    """Write the result of a prediction whose parts are all there, which makes it finished.

    The list of its files and of their hashes depends on model and input alone.
    """
    quarantined = progress.write_quarantined()
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
