"""Finds, on a CPU, what would make the host wait for a GPU."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from omnimat.nn import devices

_PACKAGE = str(Path(__file__).parents[1])
# Their result is a number, or has a shape that depends on the values.
_WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "bincount",
    "equal",
    "is_nonzero",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "lift_fresh",  # makes a tensor of numbers of the host, which have to be copied
}
# They take positions, and look for those of True in a mask first.
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_TO_HOST = {"cpu", "numpy", "tolist", "__array__"}


class HostSyncs:
    """Notes where a GPU's results are waited for while the context is open.

    Nothing counts as in the host's memory meanwhile, so that every network computes as on a GPU.
    What is computed on the CPU on purpose, from what never was on a GPU, is noted as well.

    Attributes:
        found: for each time the operation and the line of omnimat that called it, in order.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self._modes = (_Calls(self.found), _Operations(self.found))
        self._nowhere_on_host = patch.object(devices, "is_on_host", lambda _: False)

    def __enter__(self) -> Self:
        self._nowhere_on_host.start()
        for mode in self._modes:
            mode.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._nowhere_on_host.stop()


class _Calls(TorchFunctionMode):
    """Notes methods that bring values to the host."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _TO_HOST or (name == "to" and _names_cpu([*args[1:], *kwargs.values()])):
            self._found.append(_told(name))
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operations whose result has to be known before the host can go on."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._found = found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in _WAITING or _masks(name, args) or _has_unknown_size(name, args, kwargs):
            self._found.append(_told(name))
        return func(*args, **kwargs)


def _names_cpu(values: Iterable[Any]) -> bool:
    # A device may be where the tensors of the test are; a name says that no other is meant.
    return any(isinstance(value, str) and value == "cpu" for value in values)


def _masks(name: str, args: tuple[Any, ...]) -> bool:
    if name not in _INDEXING:
        return False
    masks = (torch.bool, torch.uint8)
    return any(isinstance(one, Tensor) and one.dtype in masks for one in args[1])


def _has_unknown_size(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Say whether values are repeated, each a number of times, without telling how many result."""
    is_by_counts = name == "repeat_interleave" and isinstance(args[-1], Tensor)
    return is_by_counts and kwargs.get("output_size") is None


def _told(name: str) -> str:
    """Name an operation and the last line of omnimat that led to it, if any did."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(_PACKAGE) and frame.filename != __file__:
            place = Path(frame.filename).relative_to(_PACKAGE)
            return f"{name} at {place}:{frame.lineno}"
    return name
