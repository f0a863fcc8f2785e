"""The files of a packed model: a folder, or a zip of it, which appears whole or not at all.

Weights are safetensors and everything else is JSON or Markdown, so opening a package runs no code.
Every file is held against its size and hash in the card before anything else looks at it.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from copy import copy
from pathlib import Path, PurePosixPath
from typing import Self

from pydantic import ValidationError
from upath import UPath

from omnimat.base import strict_json
from omnimat.base.checked_json import CHECKSUM, parsed
from omnimat.base.errors import UserError
from omnimat.base.files import TEMPORARY_SUFFIX, write_atomically
from omnimat.base.paths import expanded_path
from omnimat.base.retry import patiently
from omnimat.base.settings import fingerprint, first_mistake
from omnimat.base.stored_file import StoredFile
from omnimat.inference.card import PackageCard
from omnimat.inference.shipped import shipped

CARD = "card.json"
README = "README.md"
REFERENCE = "domain.safetensors"
SEEN = "seen.json"
"""The formulas of all materials that the weights have seen, and the ids of those without one."""
_MAX_CARD_BYTES = 16 << 20
_MAX_FILE_BYTES = 16 << 30
# What zipfile raises for archives that are damaged, encrypted or of another kind.
_DAMAGES = (
    KeyError,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


def encoder_file(modality: str) -> str:
    """Name the file of an encoder's weights, in a package without members."""
    return f"encoders/{modality}.safetensors"


def member_file(seed: int) -> str:
    """Name the file of a member's weights, encoders included."""
    return f"members/seed{seed}.safetensors"


def stored(files: Mapping[str, bytes]) -> dict[str, StoredFile]:
    """Describe files by their names for the card."""
    return {name: StoredFile.of(data) for name, data in files.items()}


def check_free(out: Path) -> None:
    """Insist that nothing is where a package is to be written.

    Raises:
        UserError: there is something already.
    """
    if out.exists():
        raise UserError(f"--out: {out} is there already; remove it or choose another name")


def write(out: Path, card: PackageCard, files: Mapping[str, bytes]) -> None:
    """Write a package to a folder, or to a zip where the name ends so: all of it or nothing.

    Raises:
        UserError: there is something already.
    """
    check_free(out)
    everything = {**files, CARD: _text(card)}
    if out.suffix == ".zip":
        write_atomically(UPath(out.absolute()), _zipped(everything))
        return
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        for name, data in everything.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _text(card: PackageCard) -> bytes:
    """Write a card with a checksum of itself, since it holds the hashes of all other files."""
    content = card.model_dump(mode="json")
    return f"{json.dumps(content | {CHECKSUM: fingerprint(content)}, indent=1)}\n".encode()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


class Package:
    """A packed model that was opened; nothing of it is believed before it was checked."""

    def __init__(self, path: Path | UPath) -> None:
        """Open a package and read its card.

        Raises:
            UserError: it is no package, or its card is damaged.
        """
        self.place = self._path = UPath(path)
        self._in_memory: dict[str, bytes] = {}
        self.card = _parsed(self._read(CARD, _MAX_CARD_BYTES), self.place / CARD)
        for name in self.card.files:
            _check_name(self._path, name)

    def data(self, name: str) -> bytes:
        """Read a file that the card names.

        Raises:
            UserError: it is missing, or its size or hash is not that of the card.
        """
        if name in self._in_memory:
            return self._in_memory[name]
        if name not in self.card.files:
            raise UserError(f"{self._path}/{CARD} names no {name}; the package is not whole")
        wanted = self.card.files[name]
        data = self._read(name, min(wanted.size_bytes, _MAX_FILE_BYTES))
        if StoredFile.of(data) != wanted:
            raise UserError(
                f"{self._path}/{name} is not the file that the card describes; it was damaged or "
                "changed: get the package again"
            )
        return data

    def check(self) -> None:
        """Hold every file against the card.

        Raises:
            UserError: a file is missing or was changed.
        """
        for name in self.card.files:
            self.data(name)

    def zipped(self) -> bytes:
        """Give the same package as the bytes of a zip.

        Raises:
            UserError: a file is missing or was changed.
        """
        files = {name: self.data(name) for name in self.card.files}
        return _zipped(files | {CARD: self._read(CARD, _MAX_CARD_BYTES)})

    def held(self) -> Self:
        """Give the same package with all its files in memory, for processes that cannot reach it.

        Raises:
            UserError: a file is missing or was changed.
        """
        held = copy(self)
        held._in_memory = {name: self.data(name) for name in self.card.files}
        return held

    def _read(self, name: str, max_bytes: int) -> bytes:
        """Read a file, and at most a byte more than it should have."""
        try:
            if self._path.is_dir():
                return _from_folder(self._path, name, max_bytes)
            return _from_zip(self._path, name, max_bytes)
        except UserError:
            raise
        except OSError as error:
            raise UserError(f"{self._path} cannot be read: {error.strerror or error}") from error
        except _DAMAGES as error:
            raise UserError(
                f"{self._path} is no packed model: {error}; make one with omnimat package"
            ) from error


def opened(path: str) -> Package:
    """Open the package that the key ``model`` of a job file names, on any filesystem.

    Args:
        path: where it lies; or the name of a model that comes with omnimat, where nothing does.

    Raises:
        UserError: it is not there or out of reach, it is no package, or its card is damaged.
    """
    place = expanded_path(path, "model")
    if not patiently(place.exists, f"model: {place}"):
        if (of_ours := shipped(path)) is None:
            raise UserError(f"model: {place} does not exist; make a package with omnimat package")
        return Package(of_ours)
    return Package(place)


def _from_folder(folder: UPath, name: str, max_bytes: int) -> bytes:
    file = folder / name
    if file.resolve() != folder.resolve() / name:
        raise UserError(f"{file} is a link, which is not followed; get the package again")
    if not file.is_file():
        raise UserError(f"{file} does not exist; {folder} is no packed model")
    with file.open("rb") as stream:
        return stream.read(max_bytes + 1)


def _from_zip(path: UPath, name: str, max_bytes: int) -> bytes:
    """Read a member that is stored as it is, so that it cannot grow when it is read."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is neither a folder nor a file, so it is not opened")
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        info = archive.getinfo(name)
        if archive.namelist().count(name) > 1:
            raise UserError(f"{path} holds {name} twice, so it is not read")
        is_stored = info.compress_type == zipfile.ZIP_STORED
        if not is_stored or info.file_size > path.stat().st_size:
            raise UserError(f"{path} is no packed model: {name} is not stored uncompressed in it")
        with archive.open(info) as member:
            return member.read(max_bytes + 1)


def _parsed(text: bytes, path: UPath) -> PackageCard:
    try:
        strict_json.check(text)
        return PackageCard.model_validate(parsed(text, path, "get the package again"))
    except UserError:
        raise
    except ValidationError as error:
        raise UserError(f"{path} cannot be read: {first_mistake(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _check_name(path: UPath, name: str) -> None:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or ".." in parts or "\0" in name:
        raise UserError(f"{path}/{CARD} names {name!r}, which does not lie within the package")
