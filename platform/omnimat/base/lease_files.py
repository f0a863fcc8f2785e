"""The files of a lease: one for each process that has ever held the folder.

Each is created exclusively and whole, on local and network file systems and on object stores.
"""

from __future__ import annotations

import errno
import os
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from upath import UPath

from omnimat.base import process
from omnimat.base.errors import RunError, UserError
from omnimat.base.files import TEMPORARY_SUFFIX, read_file
from omnimat.base.filesystem import is_local
from omnimat.base.retry import patiently

FOLDER = "lease"
LONGEST_S = 3600.0
"""For how long a holder may at most give no sign."""
# What file systems answer that give a file no second name.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


_Name = Annotated[str, Field(max_length=256), AfterValidator(_printable)]


class Holder(BaseModel):
    """What the file of a lease says of the process that made it.

    Attributes:
        token: text that no other lease has.
        user: name of the user.
        host: name of the machine.
        pid: process id.
        machine: where that process id counts (``process.machine``).
        start_ticks: when the process was started (``process.start_ticks``).
        since: when it began to hold the folder, by its own clock; for people alone.
        stale_after_s: for how long it may give no sign.
        beats: how many signs it has given.
        released: whether it has ended its work.
    """

    model_config = ConfigDict(frozen=True)
    token: _Name
    user: _Name
    host: _Name
    pid: int = Field(gt=0, lt=2**31)
    machine: _Name
    start_ticks: int
    since: _Name
    stale_after_s: float = Field(gt=0, le=LONGEST_S)
    beats: int = 0
    released: bool = False

    @classmethod
    def myself(cls, stale_after_s: float) -> Self:
        """Describe this process, which may give no sign for so long."""
        return cls(
            token=uuid.uuid4().hex,
            user=process.user(),
            host=process.host(),
            pid=os.getpid(),
            machine=process.machine(),
            start_ticks=process.start_ticks(os.getpid()) or 0,
            since=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            stale_after_s=stale_after_s,
        )

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (process {self.pid}) since {self.since}"

    @property
    def is_gone(self) -> bool:
        """Whether the process ran on this machine and has ended."""
        return process.is_gone(self.pid, self.start_ticks, self.machine)


def lease_file(folder: UPath, generation: int) -> UPath:
    """Name the file of a generation of a folder's lease."""
    return folder / FOLDER / f"{generation:06d}.json"


def newest_generation(folder: UPath) -> int:
    """Return the highest generation of a folder's lease, or 0."""
    leases = folder / FOLDER

    def names() -> list[str]:
        return [path.stem for path in leases.iterdir()] if leases.exists() else []

    return max((int(name) for name in patiently(names, leases) if name.isdecimal()), default=0)


def read_holder(file: UPath) -> Holder | None:
    """Read the file of a lease; None if it is being written, or damaged."""
    try:
        return Holder.model_validate_json(read_file(file))
    except (FileNotFoundError, ValidationError):
        return None


def create_holder(file: UPath, holder: Holder) -> bool:
    """Create the file of a lease, unless another process has; return whether it is ours.

    What is there at the end decides: a first try may have reached the storage though its answer was
    lost, and not every storage says in the same way that another process was first.
    """
    data = holder.model_dump_json(indent=1).encode()

    def create() -> None:
        with suppress(FileExistsError):
            if is_local(file):
                _create_locally(Path(file.path), data)
            else:
                file.fs.pipe_file(file.path, data, mode="create")

    try:
        patiently(create, file)
    except (RunError, UserError):
        if read_holder(file) is None:
            raise
    there = read_holder(file)
    return there is not None and there.token == holder.token


def _create_locally(file: Path, data: bytes) -> None:
    """Create a file with all its content, or not at all.

    Raises:
        FileExistsError: it is there already.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_name(f".{file.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        whole.write_bytes(data)
        try:
            os.link(whole, file)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with file.open("xb") as stream:
                stream.write(data)
    finally:
        whole.unlink(missing_ok=True)
