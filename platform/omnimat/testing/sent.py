"""The round trip of an object to another process, as Ray makes it."""

from __future__ import annotations

import copy
from typing import TypeVar

from omnimat.base.registry import imported

T = TypeVar("T")


def sent(value: T) -> T:
    """Return what another process would receive.

    An object travels as its state and the name of its class. So it is taken apart and put together
    by the same methods (``__reduce_ex__``, ``__getstate__``), and its class is found by its name.

    Raises:
        TypeError: it holds what cannot be taken apart, such as a lock or an open file.
    """
    kind = type(value)
    assert imported(f"{kind.__module__}:{kind.__qualname__}") is kind
    return copy.deepcopy(value)
