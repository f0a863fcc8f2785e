"""An index: embeddings of materials in a folder, with what is known and predicted of each.

The folder holds ``embeddings.npy``, which is memory-mapped, ``materials.parquet``,
``left_out.parquet`` and, written last, ``index.json`` with the sizes and hashes of the others.
Materials are in the order of their names. Opening an index runs no code, and believes nothing.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError
from upath import UPath

from omnimat import __version__
from omnimat.base import strict_json
from omnimat.base.checked_json import parsed, write_checked_json
from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.base.files import (
    TEMPORARY_SUFFIX,
    parquet_bytes,
    parquet_frame,
    read_file,
    remove_temporaries,
    write_atomically,
)
from omnimat.base.filesystem import is_local
from omnimat.base.settings import first_mistake
from omnimat.base.stored_file import StoredFile
from omnimat.modalities.storage import decode_npy, encode_npy
from omnimat.search.card import CARD, EMBEDDINGS, LEFT_OUT, MATERIALS, IndexCard, Origin
from omnimat.search.materials import NAME, SPLIT, Contents, check_table

Float = NDArray[np.float32]
Rows = NDArray[np.int64]

_REMEDY = "make the index again"
_MAX_CARD_BYTES = 1 << 20
# By how much the length of an embedding in single precision may differ from one.
UNIT_TOLERANCE = 1e-3
_BLOCK_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Index:
    """An open index of N materials.

    Attributes:
        place: its folder.
        card: by what it was made, and of what.
        materials: a row for each material, in the order of names: ``name``; where any is known,
            ``split`` and ``reduced_formula``; and ``known.<property>`` and
            ``predicted.<property>``, whose names hold the units.
        embeddings: (N, d) float32 of unit length, mapped into memory.
    """

    place: UPath
    card: IndexCard
    materials: pd.DataFrame
    embeddings: Float

    @classmethod
    def open(cls, path: str | os.PathLike[str] | UPath) -> Self:
        """Open an index, and hold every file against its size and its hash.

        Args:
            path: folder or URI that ``omnimat index`` made.

        Raises:
            UserError: it is no index, or it was damaged or changed.
        """
        place = path if isinstance(path, UPath) else UPath(path)
        with _as_a_sentence(place):
            card = read_card(place)
            table = _content(place, MATERIALS, card)
            check_table(pq.read_schema(pa.BufferReader(table)))
            materials = parquet_frame(table)
            embeddings: Float = decode_npy(_content(place, EMBEDDINGS, card))
            _content(place, LEFT_OUT, card)
            _check(card, materials, embeddings)
        return cls(place, card, materials, embeddings)

    def __len__(self) -> int:
        """Give the number of materials."""
        return len(self.materials)

    def left_out(self) -> pd.DataFrame:
        """Give the names of the materials that could not be embedded, each with its reason."""
        with _as_a_sentence(self.place):
            return parquet_frame(_content(self.place, LEFT_OUT, self.card))

    def rows(self, split: str | None = None) -> Rows:
        """Give the rows of all materials, or of those in one split.

        Raises:
            UserError: the index knows no splits.
        """
        if split is None:
            return np.arange(len(self))
        if SPLIT not in self.materials:
            raise UserError(f"--split: {self.place} knows no splits; leave it out")
        return np.flatnonzero(self.materials[SPLIT] == split)


def read_card(place: UPath) -> IndexCard:
    """Read the card of an index alone, without its embeddings.

    Raises:
        UserError: the folder is no index, or its card cannot be read.
    """
    try:
        data = Confined(place).read(CARD, str(place), _MAX_CARD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{place} is no index: it has no {CARD}; make one with omnimat index"
        ) from None
    try:
        strict_json.check(data)
        return IndexCard.model_validate(parsed(data, place / CARD, _REMEDY))
    except UserError:
        raise
    except ValidationError as error:
        raise UserError(f"{place / CARD}: {first_mistake(error)}; {_REMEDY}") from error
    except ValueError as error:
        raise UserError(f"{place / CARD} cannot be read: {error}; {_REMEDY}") from error


def check_free(path: UPath) -> None:
    """Insist that an index can be written to a folder: it is not there, or a write broke off.

    Raises:
        UserError: there is something already.
    """
    if path.exists() and not (path.is_dir() and all(map(_is_of_a_write, path.iterdir()))):
        raise UserError(f"--out: {path} is there already; remove it or choose another name")


def write_index(path: UPath, origin: Origin, contents: Contents) -> Index:
    """Write an index to a folder, its card last, and open it."""
    left_out = pa.table(
        {
            key: pa.array([one[place] for one in contents.left_out], pa.string())
            for place, key in enumerate((NAME, "reason"))
        }
    )
    files = {
        EMBEDDINGS: encode_npy(contents.embeddings),
        MATERIALS: parquet_bytes(contents.materials),
        LEFT_OUT: parquet_bytes(left_out),
    }
    card = IndexCard(
        omnimat=__version__,
        origin=origin,
        num_materials=len(contents.embeddings),
        embedding_dim=contents.embeddings.shape[1],
        num_left_out=len(contents.left_out),
        files={name: StoredFile.of(data) for name, data in files.items()},
    )
    (path / CARD).unlink(missing_ok=True)
    for name, data in files.items():
        write_atomically(path / name, data)
    remove_temporaries(path)
    write_checked_json(path / CARD, card.model_dump(mode="json"))
    return Index.open(path)


def _is_of_a_write(file: UPath) -> bool:
    """Say whether a write of an index that broke off may have left a file."""
    return file.name in {EMBEDDINGS, MATERIALS, LEFT_OUT} or file.name.endswith(TEMPORARY_SUFFIX)


def _content(place: UPath, name: str, card: IndexCard) -> memoryview:
    """Read a file, or map it into memory if it is on this machine, and hold it against the card."""
    wanted = card.files[name]
    try:
        path = Confined(place).file(name, str(place))
    except FileNotFoundError:
        raise UserError(f"{place / name} is missing: {_REMEDY}") from None
    content = _mapped(path) if is_local(path) else memoryview(read_file(path))
    if len(content) != wanted.size_bytes or StoredFile.of(content) != wanted:
        raise UserError(f"{place / name} was changed after it was written: {_REMEDY}")
    return content


def _mapped(path: UPath) -> memoryview:
    if not path.stat().st_size:
        return memoryview(b"")  # which cannot be mapped
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _check(card: IndexCard, materials: pd.DataFrame, embeddings: Float) -> None:
    """Check that table and embeddings are of one index, whoever wrote their hashes."""
    shape = (card.num_materials, card.embedding_dim)
    if embeddings.dtype != np.float32 or embeddings.shape != shape:
        raise ValueError(f"{EMBEDDINGS} does not hold {shape[0]} x {shape[1]} float32")
    names: pd.Series[Any] = materials[NAME]
    if len(materials) != len(embeddings):
        raise ValueError(f"{MATERIALS} has {len(materials)} rows and not {len(embeddings)}")
    if names.isna().any() or not names.is_monotonic_increasing:
        raise ValueError(f"{MATERIALS} is not in the order of names")
    for start in range(0, len(embeddings), _BLOCK_ROWS):
        block = embeddings[start : start + _BLOCK_ROWS]
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        if not (np.abs(lengths - 1) <= UNIT_TOLERANCE).all():  # NaN neither
            raise ValueError(f"{EMBEDDINGS} holds vectors that are not of unit length")


@contextmanager
def _as_a_sentence(place: UPath) -> Iterator[None]:
    """Say in one sentence why an index cannot be used."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, OverflowError, pa.ArrowException) as error:
        told = " ".join(str(error).split())
        raise UserError(f"{place} is no index: {told}; {_REMEDY}") from error
