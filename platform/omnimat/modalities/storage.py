"""How a shard stores the parts of a record: as JSON, text or NumPy arrays, never as a pickle."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|](?P<kind>[biufU])\d{1,6})', 'fortran_order': False, "
    rb"'shape': \((?P<shape>[\d, ]{0,60})\), \} *\n"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """One part of a record, and the file that holds it in a shard.

    Attributes:
        extension: what follows the material's id in the file's name (``dos.npz``). What stands
            before its first dot is the name of the part.
        encode: checks the part and returns its bytes, which are equal for equal parts. It raises a
            ``ValueError`` with the reason if a part cannot be stored.
        decode: rebuilds the part and checks it as ``encode`` does. Whatever error damaged bytes
            cause, the record counts as bad.
    """

    extension: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]

    @property
    def name(self) -> str:
        """Name of the part in ``Record.parts``."""
        return self.extension.partition(".")[0]


def encode_json(value: Any) -> bytes:
    """Write a JSON value in canonical form.

    Raises:
        ValueError: it is not a JSON value, or it holds a number that is not finite.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except TypeError as error:
        raise ValueError(f"not a JSON value: {error}") from error
    return text.encode()


def encode_npy(array: Array) -> bytes:
    """Write one array as an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def decode_npy(data: bytes | memoryview, kinds: str = "fiu") -> Array:
    """Read an ``.npy`` file of ``np.save``, whose shape must fit the number of bytes.

    NumPy's own reader evaluates the header as Python, so a damaged one may raise any error.

    Args:
        data: the content of the file.
        kinds: which kinds of numbers it may hold, as NumPy's ``dtype.kind`` names them; among them
            ``b`` stands for booleans, and ``U`` for texts.

    Raises:
        ValueError: the bytes are not an array of these kinds, of version 1.0 and in C order.
    """
    if data[:8] != _NPY_MAGIC:
        raise ValueError("not an npy file of version 1.0")
    start = 10 + int.from_bytes(data[8:10], "little")
    header = _NPY_HEADER.fullmatch(data[10:start])
    if header is None or header["kind"].decode() not in kinds:
        raise ValueError(f"array must be numeric and in C order, its header is {data[10:start]!r}")
    dtype = np.dtype(header["dtype"].decode())
    shape = tuple(int(length) for length in header["shape"].split(b",") if length.strip())
    if dtype.itemsize * math.prod(shape) != len(data) - start:
        raise ValueError(f"header {shape} {dtype} does not fit {len(data) - start} bytes")
    return np.frombuffer(data, dtype=dtype, offset=start).reshape(shape)


def encode_npz(arrays: Mapping[str, Array]) -> bytes:
    """Write named arrays as an ``.npz`` file without compression."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def decode_npz(data: bytes, kinds: str = "fiu") -> dict[str, Array]:
    """Read named arrays from an ``.npz`` file of ``np.savez``, which does not compress.

    Args:
        data: the content of the file.
        kinds: as for ``decode_npy``.

    Raises:
        ValueError: the archive is damaged or compressed, or it holds something other than arrays.
    """
    return {name: decode_npy(content, kinds) for name, content in unpack_npz(data).items()}


def unpack_npz(
    data: bytes, names: Collection[str] | None = None, max_bytes: int | None = None
) -> dict[str, bytes]:
    """Unpack the ``.npy`` files of an ``.npz`` file, after a look at the sizes that they claim.

    Args:
        data: the content of the archive.
        names: the arrays that are unpacked, as far as they are there; None for all.
        max_bytes: how much they may have together if they are compressed; None if they must not be,
            since a small file could then unpack to any size.

    Raises:
        ValueError: the archive is damaged, compressed or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
            wanted = {name: one for name, one in entries.items() if names is None or name in names}
            _check_sizes(list(wanted.values()), len(data), max_bytes)
            return {name: _unpacked(archive, entry) for name, entry in wanted.items()}
    except _TooLargeError:
        raise
    except Exception as error:  # on damaged bytes zipfile raises nearly anything
        raise ValueError(f"the archive is cut off or damaged: {error}") from error


class _TooLargeError(ValueError):
    pass


def _check_sizes(entries: list[zipfile.ZipInfo], size_bytes: int, max_bytes: int | None) -> None:
    if max_bytes is None and any(one.compress_type != zipfile.ZIP_STORED for one in entries):
        raise _TooLargeError("the archive is compressed")
    num_bytes = sum(one.file_size for one in entries)
    # Entries that share their bytes are another way to unpack to more than there is.
    if num_bytes > (size_bytes if max_bytes is None else max_bytes):
        raise _TooLargeError(f"the archive is too large: it unpacks to {num_bytes / 2**20:.3g} MiB")


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Unpack as many bytes as an entry claims to have; ``read`` would unpack them all first."""
    with archive.open(entry) as file:
        content = file.read(entry.file_size)
        if len(content) < entry.file_size or file.read(1):  # the second reads the checksum
            raise ValueError(f"{entry.filename} has other bytes than the archive says")
        return content


def checked(array: Array, ndim: int) -> Array:
    """Return an array if it has ``ndim`` axes, is not empty and holds only finite numbers.

    Raises:
        ValueError: the array violates one of these conditions, which the message names.
    """
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"array has shape {array.shape}, expected {ndim} filled dimensions")
    if not np.isfinite(array).all():
        raise ValueError("array holds numbers that are not finite")
    return array


def checked_curve(arrays: Mapping[str, Array], axis: str, what: str) -> None:
    """Check that arrays are curves over the same increasing axis.

    Args:
        arrays: the axis and the curves, each of shape (n,).
        axis: name of the array that is the axis.
        what: the axis and the curves in words, for the message.

    Raises:
        ValueError: the lengths differ, the axis does not increase, or a number is not finite.
    """
    for array in arrays.values():
        checked(array, 1)
    if any(array.shape != arrays[axis].shape for array in arrays.values()):
        raise ValueError(f"{what} differ in length")
    if not (np.diff(arrays[axis]) > 0).all():
        raise ValueError(f"{axis.split('_')[0]} do not increase")
