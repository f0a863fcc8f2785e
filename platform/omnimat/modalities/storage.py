"""How a shard stores the parts of a record: as JSON, text or NumPy arrays, never as a pickle."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|][fiu]\d{1,2})', 'fortran_order': False, "
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


def decode_npy(data: bytes) -> Array:
    """Read an ``.npy`` file of ``np.save``, whose shape must fit the number of bytes.

    NumPy's own reader evaluates the header as Python, so a damaged one may raise any error.

    Raises:
        ValueError: the bytes are not a numeric array of version 1.0 in C order.
    """
    if data[:8] != _NPY_MAGIC:
        raise ValueError("not an npy file of version 1.0")
    start = 10 + int.from_bytes(data[8:10], "little")
    header = _NPY_HEADER.fullmatch(data[10:start])
    if header is None:
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


def decode_npz(data: bytes) -> dict[str, Array]:
    """Read named arrays from an ``.npz`` file.

    Raises:
        ValueError: the archive is compressed, so that it could unpack to any size, or it holds
            something other than arrays.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("is compressed")
        return {
            entry.filename.removesuffix(".npy"): decode_npy(archive.read(entry))
            for entry in archive.infolist()
        }


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
