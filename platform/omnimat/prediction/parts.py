"""The files of a prediction: a part of the table each, with a report by which it is known again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError
from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import RunError, UserError
from omnimat.base.files import read_file, remove_temporaries, write_atomically
from omnimat.base.lease import CheckHeld, Fence
from omnimat.base.settings import Settings, first_mistake
from omnimat.base.stored_file import StoredFile
from omnimat.prediction.rows import Part

PARTS, REPORTS, READING = "parts", "reports", "reading"
MAX_TRIES = 4
_FILES_AT_ONCE = 16  # storage far away answers slowly, but many at a time


class PartFile(StoredFile):
    """What a file of the table must be.

    Attributes:
        name: its name.
        num_rows: how many rows it holds.
    """

    name: str
    num_rows: int

    @classmethod
    def named(cls, name: str, data: bytes, num_rows: int) -> PartFile:
        """Describe the content of a file."""
        return cls(name=name, num_rows=num_rows, **StoredFile.of(data).model_dump())


class PartReport(Settings):
    """What became of a part.

    Attributes:
        file: the file of its table.
        quarantined: ids of materials that are not in it, and why.
        seconds: what reading, featurizing and the networks took of one core or GPU.
    """

    file: PartFile
    quarantined: tuple[tuple[str, str], ...]
    seconds: Mapping[str, float]

    @property
    def num_rows(self) -> int:
        """How many rows of the input it accounts for."""
        return self.file.num_rows + len(self.quarantined)


def part_name(number: int) -> str:
    """Name the file of a part."""
    return f"part-{number:05d}.parquet"


def write_part(folder: UPath, data: bytes, report: PartReport, check_held: CheckHeld) -> None:
    """Write a part, and after it its report; each is there whole or not at all.

    Raises:
        LostError: another process has taken the folder over, and nothing was written since.
    """
    check_held()
    write_atomically(folder / PARTS / report.file.name, data)
    check_held()
    write_checked_json(_report_of(folder, report.file.name), report.model_dump(mode="json"))


def kept_parts(folder: UPath, parts: Iterable[Part]) -> dict[int, PartReport]:
    """Read the reports of those parts that are there as they were written.

    What is damaged is told and counts as missing.
    """
    written = {file.name for file in (folder / REPORTS).glob("*.json")}
    names = {part.number: part_name(part.number) for part in parts}
    there = [n for n, name in names.items() if _report_of(folder, name).name in written]
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        reports = list(pool.map(lambda number: _kept(folder, names[number]), there))
    return {n: report for n, report in zip(there, reports, strict=True) if report is not None}


def remove_leftovers(folder: UPath) -> None:
    """Remove what killed writers left among finished parts."""
    for name in (PARTS, REPORTS):
        remove_temporaries(folder / name)


def _report_of(folder: UPath, name: str) -> UPath:
    return (folder / REPORTS / name).with_suffix(".json")


def _kept(folder: UPath, name: str) -> PartReport | None:
    path = _report_of(folder, name)
    again = f"{name} is made again"
    try:
        report = PartReport.model_validate(read_checked_json(path, again))
        data = read_file(folder / PARTS / name)
    except ValidationError as error:
        print(f"{path} is damaged ({first_mistake(error)}): {again}", flush=True)
        return None
    except (UserError, FileNotFoundError) as error:
        print(error, flush=True)
        return None
    if PartFile.named(name, data, report.file.num_rows) != report.file:
        print(f"{folder / PARTS / name} was changed after it was written: {again}", flush=True)
        return None
    return report


class Tries:
    """Remembers in the storage which parts are being read.

    A material that ends the process that reads it, by a crash or a limit, leaves such a note. Ray
    starts the process again, which then reads item by item in a child; and so does the next start,
    since it cannot know what ended this one.
    """

    def __init__(self, fence: Fence) -> None:
        """Remember for the holder of a folder."""
        self._fence = fence

    @contextmanager
    def of(self, part: Part) -> Iterator[bool]:
        """Remember that a part is being read, and give whether that was begun before in vain.

        Raises:
            RunError: this start of the job has begun it ``MAX_TRIES`` times.
        """
        was_in_vain = self._begin(part)
        try:
            yield was_in_vain
        finally:
            self._note(part).unlink(missing_ok=True)

    def _begin(self, part: Part) -> bool:
        before = self._before(part)
        is_of_this_start = bool(before) and before["token"] == self._fence.token
        tries = int(before["tries"]) + 1 if is_of_this_start else 1
        if tries > MAX_TRIES:
            raise RunError(
                f"rows {part.start} to {part.stop - 1} of the input ended the process that reads "
                f"and featurizes them {MAX_TRIES} times: leave out what is wrong there, or give "
                "featurizers more memory"
            )
        write_checked_json(self._note(part), {"token": self._fence.token, "tries": tries})
        return bool(before)

    def _before(self, part: Part) -> dict[str, Any]:
        """Read the note of a part; nothing where there is none."""
        note = self._note(part)
        try:
            return read_checked_json(note, f"remove {note}")
        except FileNotFoundError:
            return {}

    def _note(self, part: Part) -> UPath:
        return (self._fence.folder / READING / part_name(part.number)).with_suffix(".json")
