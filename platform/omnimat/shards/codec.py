"""A record as the members of a WebDataset sample, and back. Nothing is ever unpickled."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import MATERIAL_ID, DensityOfStates, Record, Structure
from omnimat.materials.validation import check_arrays

# In the order in which the members of a record lie in the shard.
EXTENSIONS = (
    "structure.json",
    "dos.npz",
    "charge_density.npy",
    "text.txt",
    "text_embedding.npy",
    "properties.json",
    "provenance.json",
)
MAX_MEMBER_BYTES = 64 * 2**20
MAX_CONTENT_BYTES = 2 * MAX_MEMBER_BYTES
# With the tar headers and the padding of each member.
MAX_RECORD_BYTES = MAX_CONTENT_BYTES + 2**16

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|][fiu]\d{1,2})', 'fortran_order': False, "
    rb"'shape': \((?P<shape>[\d, ]{0,60})\), \} *\n"
)

_Array = NDArray[Any]
_CANNOT_DECODE = (
    ValueError,  # of JSON and UTF-8 too
    KeyError,
    TypeError,
    EOFError,
    OverflowError,
    RuntimeError,  # deep JSON, an encrypted zip
    zipfile.BadZipFile,
)


def encode(record: Record) -> dict[str, bytes]:
    """Give the members of a record by extension, in the order of ``EXTENSIONS``.

    Equal records give equal bytes.

    Raises:
        ValueError: the record cannot be stored and read back (its id, a shape, a number that is
            not finite, too many bytes), with the reason.
    """
    if not MATERIAL_ID.fullmatch(record.material_id):
        raise ValueError(f"material id must match {MATERIAL_ID.pattern}")
    members = {
        "structure.json": _structure_json(record.structure),
        "properties.json": _json(dict(record.properties)),
        "provenance.json": _json(dict(record.provenance)),
    }
    if record.dos is not None:
        members["dos.npz"] = _dos_npz(record.dos)
    if record.charge_density is not None:
        members["charge_density.npy"] = _npy(_checked(record.charge_density, 3))
    if record.text is not None:
        members["text.txt"] = record.text.encode()
    if record.text_embedding is not None:
        members["text_embedding.npy"] = _npy(_checked(record.text_embedding, 1))
    for extension, data in members.items():
        if len(data) > MAX_MEMBER_BYTES:
            raise ValueError(f"{extension} has {len(data)} bytes, over {MAX_MEMBER_BYTES}")
    if (num_bytes := sum(map(len, members.values()))) > MAX_CONTENT_BYTES:
        raise ValueError(f"the record has {num_bytes} bytes, over {MAX_CONTENT_BYTES}")
    return {extension: members[extension] for extension in EXTENSIONS if extension in members}


def decode(material_id: str, members: Mapping[str, bytes]) -> Record:
    """Rebuild a record from its members.

    Raises:
        ValueError: a member is missing, unknown or does not hold what it should; the message
            names the member.
    """
    if unknown := sorted(set(members) - set(EXTENSIONS)):
        raise ValueError(f"unknown members: {', '.join(unknown)}")
    if "structure.json" not in members:
        raise ValueError("structure.json is missing")
    values: dict[str, Any] = {}
    for extension, data in members.items():
        try:
            values[extension.split(".")[0]] = _DECODERS[extension](data)
        except _CANNOT_DECODE as error:
            raise ValueError(f"{extension}: {error}") from error
    return Record(material_id=material_id, **values)


def _json(value: Any) -> bytes:
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except TypeError as error:
        raise ValueError(f"properties and provenance must be JSON values: {error}") from error
    return text.encode()


def _structure_json(structure: Structure) -> bytes:
    check_arrays(structure)
    return _json(
        {
            "lattice_angstrom": structure.lattice_angstrom.tolist(),
            "atomic_numbers": structure.atomic_numbers.tolist(),
            "frac_coords": structure.frac_coords.tolist(),
        }
    )


def _structure(data: bytes) -> Structure:
    value = json.loads(data)
    structure = Structure(
        lattice_angstrom=np.asarray(value["lattice_angstrom"], dtype=np.float64),
        atomic_numbers=np.asarray(value["atomic_numbers"], dtype=np.int32),
        frac_coords=np.asarray(value["frac_coords"], dtype=np.float64),
    )
    check_arrays(structure)
    return structure


def _dos_npz(dos: DensityOfStates) -> bytes:
    arrays = {"energies_ev": dos.energies_ev, "spin_up_per_ev": dos.spin_up_per_ev}
    if dos.spin_down_per_ev is not None:
        arrays["spin_down_per_ev"] = dos.spin_down_per_ev
    _check_dos(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _dos(data: bytes) -> DensityOfStates:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("is compressed")  # would unpack to any size
        arrays = {
            entry.filename.removesuffix(".npy"): _array(archive.read(entry))
            for entry in archive.infolist()
        }
    _check_dos(arrays)
    return DensityOfStates(**arrays)


def _check_dos(arrays: Mapping[str, _Array]) -> None:
    for array in arrays.values():
        _checked(array, 1)
    energies = arrays["energies_ev"]
    if any(array.shape != energies.shape for array in arrays.values()):
        raise ValueError("energies and densities of states differ in length")
    if not (np.diff(energies) > 0).all():
        raise ValueError("energies do not increase")


def _npy(array: _Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _array(data: bytes) -> _Array:
    """Read an ``.npy`` as ``np.save`` writes it; its shape is believed only where it fits.

    NumPy's own reader evaluates the header as Python, and damaged ones raise what they like.
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


def _checked(array: _Array, ndim: int) -> _Array:
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"array has shape {array.shape}, expected {ndim} filled dimensions")
    if not np.isfinite(array).all():
        raise ValueError("array holds numbers that are not finite")
    return array


def _mapping(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


_DECODERS: Mapping[str, Callable[[bytes], Any]] = {
    "structure.json": _structure,
    "dos.npz": _dos,
    "charge_density.npy": lambda data: _checked(_array(data), 3),
    "text.txt": lambda data: data.decode(),
    "text_embedding.npy": lambda data: _checked(_array(data), 1),
    "properties.json": _mapping,
    "provenance.json": _mapping,
}
