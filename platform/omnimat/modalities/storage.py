"""How the parts of a record lie in a shard: JSON, text and plain NumPy arrays, never a pickle."""

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
        extension: what follows the material's id in the file's name (``dos.npz``). The part has
            the name before its first dot.
        encode: checks the part and gives the bytes; equal parts give equal bytes. It raises a
            ``ValueError`` with the reason why a part cannot be stored.
        decode: rebuilds the part and checks it as ``encode`` does. Any error that damaged bytes
            cause is taken for a bad record.
    """

    extension: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]

    @property
    def name(self) -> str:
        """The part's name in ``Record.parts``."""
        return self.extension.partition(".")[0]


def encode_json(value: Any) -> bytes:
    """Write a JSON value in canonical form.

    Raises:
        ValueError: it is no JSON value, or holds a number that is not finite.
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
    """Read an ``.npy`` as ``np.save`` writes it; its shape is believed only where it fits.

    NumPy's own reader evaluates the header as Python, and damaged ones raise what they like.

    Raises:
        ValueError: the bytes are no numeric array of version 1.0 in C order.
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
    """Read named arrays.

    Raises:
        ValueError: the archive is compressed, which would unpack to any size, or holds something
            else than arrays.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("is compressed")
        return {
            entry.filename.removesuffix(".npy"): decode_npy(archive.read(entry))
            for entry in archive.infolist()
        }


def checked(array: Array, ndim: int) -> Array:
    """Insist that an array has so many axes, is not empty and holds finite numbers.

    Raises:
        ValueError: it does not; the message says which.
    """
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"array has shape {array.shape}, expected {ndim} filled dimensions")
    if not np.isfinite(array).all():
        raise ValueError("array holds numbers that are not finite")
    return array


def checked_curve(arrays: Mapping[str, Array], axis: str, what: str) -> None:
    """Insist that arrays are curves over one increasing axis.

    Args:
        arrays: the axis and the curves, (n,) each.
        axis: the name of the axis among them.
        what: both in words, for the message.

    Raises:
        ValueError: lengths differ, the axis does not increase, or a number is not finite.
    """
    for array in arrays.values():
        checked(array, 1)
    if any(array.shape != arrays[axis].shape for array in arrays.values()):
        raise ValueError(f"{what} differ in length")
    if not (np.diff(arrays[axis]) > 0).all():
        raise ValueError(f"{axis.split('_')[0]} do not increase")
