"""The manifest of a checkpoint: it is written last, and every file is held against it.

Nothing of a checkpoint is opened before its size and its hash are those in the manifest. A file
that the manifest does not list is never opened at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.files import read_file
from omnimat.base.provenance import sha256_of
from omnimat.base.retry import patiently
from omnimat.base.settings import Settings, first_mistake

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 2**26
_NAME = re.compile(r"(?!\.\.?(/|$))[\w.\-]+(/(?!\.\.?(/|$))[\w.\-]+)*")

T = TypeVar("T")


class DamagedCheckpointError(RunError):
    """A file of a checkpoint is not what the manifest says; the message names it."""


def _inside(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a file inside the checkpoint")
    return name


FileName = Annotated[str, AfterValidator(_inside)]


class CheckpointFile(Settings):
    """What a file must be.

    Attributes:
        size_bytes: its size.
        sha256: its hash, as 64 hexadecimal digits.
    """

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @classmethod
    def of(cls, file: Path) -> Self:
        """Describe a local file."""
        return cls(size_bytes=file.stat().st_size, sha256=sha256_of(UPath(file)))

    def check_size(self, file: UPath) -> None:
        """Refuse what is no plain file of this size, without reading it.

        Raises:
            DamagedCheckpointError: it is not; the message names the file.
        """
        if _plain_size_bytes(file) != self.size_bytes:
            raise DamagedCheckpointError(f"{file} is damaged: its size is not that in {MANIFEST}")

    def check_hash(self, file: UPath) -> None:
        """Refuse a file that holds something else.

        Raises:
            DamagedCheckpointError: it does; the message names the file.
        """
        self._compare(_there(file, partial(sha256_of, file)), file)

    def check_data(self, data: bytes, file: UPath) -> None:
        """Refuse what was read of a file, as ``check_hash`` does.

        Raises:
            DamagedCheckpointError: it is something else; the message names the file.
        """
        self._compare(hashlib.sha256(data).hexdigest(), file)

    def _compare(self, sha256: str, file: UPath) -> None:
        if sha256 != self.sha256:
            raise DamagedCheckpointError(f"{file} is damaged: its sha256 is not that in {MANIFEST}")


class CheckpointManifest(Settings):
    """What a complete checkpoint consists of.

    Attributes:
        format_version: version of this layout.
        step: number of steps that were done.
        world_size: number of workers that wrote it; any number can read it.
        files: what each file must be, by its name relative to the checkpoint's folder.
    """

    format_version: Literal[1] = 1
    step: int = Field(ge=0)
    world_size: int = Field(ge=1)
    files: Mapping[FileName, CheckpointFile]

    @classmethod
    def read(cls, checkpoint: UPath) -> Self:
        """Read the manifest of a checkpoint.

        Raises:
            DamagedCheckpointError: it is missing or is no manifest; the message says why.
        """
        path = checkpoint / MANIFEST
        if _plain_size_bytes(path) > MAX_MANIFEST_BYTES:
            raise DamagedCheckpointError(
                f"{path} is damaged: it is over {MAX_MANIFEST_BYTES} bytes"
            )
        data = _there(path, lambda: read_file(path))
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise DamagedCheckpointError(f"{path} is damaged: {first_mistake(error)}") from error

    def check_sizes(self, checkpoint: UPath) -> None:
        """Refuse a checkpoint whose files do not have these sizes.

        Raises:
            DamagedCheckpointError: they have not; the message names the first such file.
        """
        for name, entry in self.files.items():
            entry.check_size(checkpoint / name)

    def read_checked(self, checkpoint: UPath, name: str) -> bytes:
        """Read a file once, and refuse it if it does not hold what it should.

        Raises:
            DamagedCheckpointError: it does not, or is not listed; the message names the file.
        """
        file = checkpoint / name
        entry = self._entry(checkpoint, name)
        entry.check_size(file)
        data = _there(file, lambda: read_file(file))
        entry.check_data(data, file)
        return data

    def check_lists(self, checkpoint: UPath, names: Iterable[str]) -> None:
        """Refuse a checkpoint that lacks a file.

        Args:
            checkpoint: folder that holds the files.
            names: names of the files that the manifest must list; taken only up to the first that
                it lacks.

        Raises:
            DamagedCheckpointError: one is not listed; the message names it.
        """
        for name in names:
            self._entry(checkpoint, name)

    def check(self, checkpoint: UPath, names: Collection[str]) -> None:
        """Refuse a checkpoint if files do not hold what they should; each is read once.

        Args:
            checkpoint: folder that holds the files.
            names: names of the files; all of them must be in the manifest.

        Raises:
            DamagedCheckpointError: one does not; the message names the first such file.
        """
        for name in names:
            self._entry(checkpoint, name).check_size(checkpoint / name)
        for name in names:
            self.files[name].check_hash(checkpoint / name)

    def _entry(self, checkpoint: UPath, name: str) -> CheckpointFile:
        if name not in self.files:
            raise DamagedCheckpointError(f"{checkpoint / MANIFEST} does not list {name}")
        return self.files[name]


def _plain_size_bytes(file: UPath) -> int:
    """Return the size of a file, and refuse links, pipes and whatever else is none."""
    info: dict[str, Any] = _there(file, lambda: file.fs.info(file.path))
    if info["type"] != "file" or info.get("islink"):
        raise DamagedCheckpointError(f"{file} is damaged: it is no plain file")
    return int(info["size"])


def _there(file: UPath, action: Callable[[], T]) -> T:
    try:
        return patiently(action, file)
    except FileNotFoundError as error:
        raise DamagedCheckpointError(f"{file} is missing") from error
