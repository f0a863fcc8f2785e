"""The files that a data set was made from, remembered so that a later change of them is noticed.

A file counts as unchanged while its size and modification time are the same, which costs nothing to
find out. Where only the time differs, its bytes decide: a file that was merely copied or touched
makes no data set stale. The list lies beside the manifest and not in it, since every worker reads
the manifest and a folder of CIFs may hold a hundred thousand files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import read_file, write_atomically
from omnimat.base.provenance import sha256_of
from omnimat.base.settings import Settings, fingerprint, first_mistake

INPUTS_NAME = "inputs.jsonl"

_FILES_AT_ONCE = 16  # storage far away answers slowly, but many at a time


class HasInputs(Protocol):
    """A source, or the settings of an ingest, which have a source and tables beside it."""

    def located(self) -> HasInputs:
        """Return the same with absolute paths."""

    def inputs(self) -> Mapping[str, UPath]:
        """Return the files that it reads, by name."""


class InputFile(Settings):
    """An input file as it was when it was read.

    Attributes:
        name: what the source calls it.
        size_bytes: its size.
        mtime_ns: when it was last modified, since 1970; 0 where the storage does not tell.
        sha256: hash of its bytes.
    """

    name: str
    size_bytes: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, name: str, path: UPath) -> InputFile:
        """Look at a file, and only then read it: a change in between is noticed later."""
        status = path.stat()
        return cls(
            name=name,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            sha256=sha256_of(path),
        )

    def is_still(self, path: UPath) -> bool:
        """Say whether a file is the one that was read."""
        status = path.stat()
        if status.st_size != self.size_bytes:
            return False
        is_untouched = status.st_mtime_ns == self.mtime_ns != 0
        return is_untouched or sha256_of(path) == self.sha256


def input_files(reader: HasInputs) -> tuple[InputFile, ...]:
    """Look at the files that a located source, or located settings, read."""
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        return tuple(pool.map(lambda file: InputFile.of(*file), sorted(reader.inputs().items())))


def content_hash(inputs: Iterable[InputFile]) -> str:
    """Hash what input files hold, whenever they were modified."""
    return fingerprint([[one.name, one.sha256] for one in inputs])


def save_inputs(inputs: Iterable[InputFile], dataset: UPath) -> None:
    """Write the list beside the shards of a data set; none where no file was read."""
    if lines := "".join(f"{one.model_dump_json()}\n" for one in inputs):
        write_atomically(dataset / INPUTS_NAME, lines.encode())


def check_inputs(reader: HasInputs, dataset: UPath) -> None:
    """Insist that the input files of a data set are what they were when it was made.

    Where they are no longer there, or cannot be read, there is nothing to hold it against: a data
    set is complete without them, and may have been moved to another machine.

    Raises:
        UserError: one has changed, or the list is damaged; the sentence names the file.
    """
    if not (dataset / INPUTS_NAME).exists():
        return
    before = _remembered(dataset)
    try:
        change = _first_change(before, reader.located().inputs())
    except (UserError, OSError):
        return
    if change is not None:
        raise UserError(
            f"{dataset} was made before {change}: choose another name for what is there now, "
            f"delete {dataset} to begin anew, or delete {dataset / INPUTS_NAME} to keep it"
        )


def _remembered(dataset: UPath) -> dict[str, InputFile]:
    path = dataset / INPUTS_NAME
    try:
        files = list(map(InputFile.model_validate_json, read_file(path).splitlines()))
    except ValidationError as error:
        raise UserError(
            f"{path} is damaged ({first_mistake(error)}): delete {dataset} to ingest it anew, or "
            f"delete {path} to keep it"
        ) from error
    return {one.name: one for one in files}


def _first_change(before: Mapping[str, InputFile], now: Mapping[str, UPath]) -> str | None:
    if not now:
        return None
    if gone := before.keys() - now.keys():
        return f"input file {min(gone)} was removed"
    if new := now.keys() - before.keys():
        return f"input file {now[min(new)]} was added"
    names = sorted(now)
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        are_still = list(pool.map(lambda name: before[name].is_still(now[name]), names))
    changed = [name for name, is_still in zip(names, are_still, strict=True) if not is_still]
    return f"input file {now[changed[0]]} was changed" if changed else None
