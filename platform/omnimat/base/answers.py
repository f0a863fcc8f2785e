"""Sends a value from a process that reads untrusted files to the one that started it.

A pickle would let the sender run code in the receiver. Here a value travels as JSON, with bytes and
arrays beside it: plain values, ``bytes``, NumPy arrays, tuples, lists, mappings and frozen
dataclasses. The receiver imports nothing for it: it makes only frozen dataclasses of modules that
it has loaded itself, and exceptions of Python and of ``omnimat.base.errors``.
"""

from __future__ import annotations

import builtins
import dataclasses
import json
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from omnimat.base.errors import RunError, UserError

_EXCEPTIONS: dict[str, type[Exception]] = {
    one.__name__: one
    for one in (*vars(builtins).values(), UserError, RunError)
    if isinstance(one, type) and issubclass(one, Exception) and one is not Exception
}


def send(pipe: Connection, value: Any) -> None:
    """Send a value, which may be an exception.

    Raises:
        TypeError: it consists of something else than the above; nothing was sent.
    """
    buffers: list[bytes] = []
    packed = _packed(value, buffers)
    pipe.send_bytes(json.dumps([packed, len(buffers)]).encode())
    for data in buffers:
        pipe.send_bytes(data)


def receive(pipe: Connection) -> Any:
    """Receive a value.

    Raises:
        EOFError: the sender is gone.
        TypeError: what was sent is no value of the kinds above.
    """
    packed, num_buffers = json.loads(pipe.recv_bytes())
    return _unpacked(packed, [pipe.recv_bytes() for _ in range(num_buffers)])


def sendable(error: Exception) -> Exception:
    """Return an error, or in its place one of the nearest class that the receiver makes."""
    told = f"{type(error).__name__}: {error}"
    kind = next((one for one in type(error).__mro__ if one in _EXCEPTIONS.values()), RuntimeError)
    try:
        nearest: Exception = error if kind is type(error) else kind(told)
        buffers: list[bytes] = []
        _unpacked(_packed(nearest, buffers), buffers)
    except Exception:  # noqa: BLE001 - its arguments may be anything
        return RuntimeError(told)
    return nearest


def _packed(value: Any, buffers: list[bytes]) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "biufcSUmM":
            raise TypeError(f"an array of {value.dtype} cannot be sent")
        buffers.append(value.tobytes())
        is_array = isinstance(value, np.ndarray)
        return {"array": [len(buffers) - 1, value.dtype.str, value.shape, is_array]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        buffers.append(value)
        return {"bytes": len(buffers) - 1}
    if type(value) in {list, tuple}:
        return {type(value).__name__: [_packed(one, buffers) for one in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[_packed(one, buffers) for one in item] for item in value.items()]}
    if isinstance(value, Exception):
        name, arguments = type(value).__name__, value.__reduce__()[1]
        return {"exception": [name, [_packed(one, buffers) for one in arguments]]}
    if _is_value_class(type(value)):
        fields = {
            f.name: _packed(getattr(value, f.name), buffers) for f in dataclasses.fields(value)
        }
        return {"dataclass": [type(value).__module__, type(value).__qualname__, fields]}
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def _unpacked(value: Any, buffers: list[bytes]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "bytes":
            return buffers[content]
        case "array":
            number, dtype, shape, is_array = content
            array = np.frombuffer(buffers[number], np.dtype(dtype)).reshape(shape).copy()
            return array if is_array else array[()]
        case "list" | "tuple":
            parts = [_unpacked(one, buffers) for one in content]
            return parts if kind == "list" else tuple(parts)
        case "mapping":
            return {_unpacked(k, buffers): _unpacked(v, buffers) for k, v in content}
        case "exception":
            return _EXCEPTIONS[content[0]](*(_unpacked(one, buffers) for one in content[1]))
        case "dataclass":
            module, name, fields = content
            made = {key: _unpacked(one, buffers) for key, one in fields.items()}
            return _value_class(module, name)(**made)
    raise TypeError(f"{kind!r} is no kind of value")


def _value_class(module: str, name: str) -> type[Any]:
    found = getattr(sys.modules.get(module), name, None)
    if not (isinstance(found, type) and _is_value_class(found)):
        raise TypeError(f"{module}.{name} is no frozen dataclass that is loaded here")
    return found


def _is_value_class(one: type[Any]) -> bool:
    return dataclasses.is_dataclass(one) and one.__dataclass_params__.frozen  # type: ignore[attr-defined]
