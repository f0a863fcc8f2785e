"""Whether a network has just the tensors of a safetensors file.

Whoever sends a model may write any number into its card, and a network of 20,000 layers takes a
minute to build. So the network is first built without memory, on torch's ``meta`` device, and the
building ends as soon as it has asked for more than the file of the weights can hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from omnimat.base.errors import UserError
from omnimat.base.words import shortened

T = TypeVar("T", bound=nn.Module)
Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each tensor, by its name."""

# The operations that a module may take per tensor, to make and to initialise it. Those of the
# platform take at most 10.
_MAX_OPERATIONS_PER_TENSOR = 50
_MAX_OTHER_OPERATIONS = 2_000
# Without memory there is nothing to fill. Torch would import its compiler for that.
_RANDOM_FILLS = (torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default)
# Of constant tables that are no weights, which the file does not hold.
_MAX_OTHER_ELEMENTS = 2**24


class MisfitError(ValueError):
    """A network and the weights of a file do not belong together."""


def check_network(build: Callable[[], nn.Module], shapes: Shapes, size_bytes: int) -> None:
    """Check that a network has exactly these tensors, without the memory that it would take.

    Args:
        build: builds the network; it must work on torch's ``meta`` device.
        shapes: the shapes of the tensors that it should have.
        size_bytes: the size of the file that holds them.

    Raises:
        MisfitError: it has others, or so many that it was not built to the end, or it cannot be
            built at all.
    """
    try:
        with _Limits(len(shapes), size_bytes), torch.device("meta"):
            network = build()
    except (MisfitError, UserError, ImportError):
        raise
    except Exception as error:  # whatever a module raises for a width of -1 or 10**400
        raise MisfitError(f"the network cannot be built: {shortened(str(error), 200)}") from error
    built = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name in sorted(built.keys() ^ shapes.keys()):
        which, other = ("network", "file") if name in built else ("file", "network")
        raise MisfitError(f"tensor {name} is in the {which} and not in the {other}")
    for name, shape in built.items():
        if shape != shapes[name]:
            raise MisfitError(f"tensor {name} has shape {shapes[name]}, and the network {shape}")


def filled(build: Callable[[], T], tensors: Mapping[str, Tensor]) -> T:
    """Build a network and give it its weights, once it is known to have just these tensors.

    Raises:
        MisfitError: it has others, or a kind of numbers that is not that of the network.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    check_network(build, shapes, sum(tensor.nbytes for tensor in tensors.values()))
    network = build()
    for name, wanted in network.state_dict().items():
        if tensors[name].is_floating_point() != wanted.is_floating_point():
            raise MisfitError(
                f"tensor {name} is {tensors[name].dtype}, the network's {wanted.dtype}"
            )
    network.load_state_dict(tensors)
    return network


class _Limits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Ends the building of a network that takes more tensors or elements than a file holds."""

    def __init__(self, num_tensors: int, size_bytes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._num_tensors = num_tensors
        self._operations_left = _MAX_OPERATIONS_PER_TENSOR * num_tensors + _MAX_OTHER_OPERATIONS
        self._max_elements = size_bytes + _MAX_OTHER_ELEMENTS  # an element has at least a byte

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; to say so, torch would import its compiler: 1 s of CPU."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._operations_left -= 1
        if self._operations_left < 0:
            raise MisfitError(f"the network is larger than the {self._num_tensors} tensors there")
        made = args[0] if func in _RANDOM_FILLS else func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.numel() > self._max_elements:
            raise MisfitError(
                f"the network has a tensor of {made.numel()} numbers, and the file less"
            )
        return made
