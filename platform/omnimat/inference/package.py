"""The files of a packed model: a folder, or a zip of it, whose card is written last.

Weights are safetensors and everything else is JSON or Markdown, so opening a package runs no code.
Every file is held against its size and hash in the card before anything else looks at it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.settings import first_mistake
from omnimat.inference.card import PackageCard, StoredFile

CARD = "card.json"
README = "README.md"
REFERENCE = "domain.safetensors"
_MAX_CARD_BYTES = 16 << 20
_MAX_FILE_BYTES = 16 << 30


def encoder_file(modality: str) -> str:
    """Name the file of an encoder's weights, in a package without members."""
    return f"encoders/{modality}.safetensors"


def member_file(seed: int) -> str:
    """Name the file of a member's weights, encoders included."""
    return f"members/seed{seed}.safetensors"


def stored(files: Mapping[str, bytes]) -> dict[str, StoredFile]:
    """Describe files by their names for the card."""
    return {
        name: StoredFile(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    }


def write(out: Path, card: PackageCard, files: Mapping[str, bytes]) -> None:
    """Write a package to a folder, or to a zip where the name ends so.

    Raises:
        UserError: there is something already.
    """
    if out.exists():
        raise UserError(f"--out: {out} is there already; remove it or choose another name")
    everything = {**files, CARD: f"{card.model_dump_json(indent=1)}\n".encode()}
    if out.suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in everything.items():
                archive.writestr(zipfile.ZipInfo(name), data)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(buffer.getvalue())
        return
    for name, data in everything.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class Package:
    """A packed model that was opened; nothing of it is believed before it was checked."""

    def __init__(self, path: Path) -> None:
        """Open a package and read its card.

        Raises:
            UserError: it is no package, or its card is damaged.
        """
        self.place = UPath(path)
        self._path = path
        text = self._read(CARD, _MAX_CARD_BYTES)
        try:
            self.card = PackageCard.model_validate_json(text)
        except ValidationError as error:
            raise UserError(f"{path}/{CARD} cannot be read: {first_mistake(error)}") from error
        for name in self.card.files:
            _check_name(path, name)

    def data(self, name: str) -> bytes:
        """Read a file that the card names.

        Raises:
            UserError: it is missing, or its size or hash is not that of the card.
        """
        if name not in self.card.files:
            raise UserError(f"{self._path}/{CARD} names no {name}; the package is not whole")
        wanted = self.card.files[name]
        data = self._read(name, min(wanted.size_bytes, _MAX_FILE_BYTES))
        if len(data) != wanted.size_bytes or hashlib.sha256(data).hexdigest() != wanted.sha256:
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

    def _read(self, name: str, max_bytes: int) -> bytes:
        """Read a file, and at most a byte more than it should have."""
        try:
            if self._path.is_dir():
                file = self._path / name
                if not file.resolve().is_relative_to(self._path.resolve()) or not file.is_file():
                    raise UserError(f"{file} does not exist; {self._path} is no packed model")
                with file.open("rb") as stream:
                    return stream.read(max_bytes + 1)
            with zipfile.ZipFile(self._path) as archive, archive.open(name) as member:
                return member.read(max_bytes + 1)
        except (KeyError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{self._path} is no packed model: {error}; make one with omnimat package"
            ) from error
        except OSError as error:
            raise UserError(f"{self._path} cannot be read: {error.strerror or error}") from error


def _check_name(path: Path, name: str) -> None:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or ".." in parts or "\0" in name:
        raise UserError(f"{path}/{CARD} names {name!r}, which does not lie within the package")
