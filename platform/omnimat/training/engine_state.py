"""The optimizer's state in a DeepSpeed engine, by parameter and in the optimizer's own memory.

At ZeRO 1 to 3 each worker keeps a piece of the state: DeepSpeed joins parameters to flat tensors
and cuts these among the workers. Here a piece goes by the name of its parameter and by its place in
it, so that it means the same for any number of workers and at any stage.

Nothing else that DeepSpeed keeps has an effect on training: the learning rate is set at each step,
and there is no loss scale, since parameters are float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Tensors of AdamW's state that are as large as the parameter; besides them there is ``step``."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What a worker keeps of the optimizer's state of one parameter.

    Attributes:
        name: name of the parameter in the model.
        start: number of the parameter's elements before this piece, once it is flattened.
        size: number of elements of the piece.
        owner: tensor under which the optimizer keeps the state.
        region: where in tensors of the owner's shape the piece lies.
        optimizer: the optimizer, which has a ``state`` by owner.
    """

    name: str
    start: int
    size: int
    owner: Tensor
    region: slice | EllipsisType
    optimizer: Any

    def read(self) -> dict[str, Tensor]:
        """Return ``step`` of shape () and the moments of shape (size,); {} before a first step."""
        state = self.optimizer.state.get(self.owner)
        if not state:
            return {}
        moments = {key: state[key][self.region].reshape(-1) for key in MOMENTS}
        return {"step": state["step"].clone(), **moments}  # one step may be many pieces'

    def write(self, saved: dict[str, Tensor]) -> None:
        """Overwrite the state by what ``read`` has returned, on this worker or pieced together."""
        state = self.optimizer.state[self.owner]
        if not state:
            state["step"] = self._first_step()
            for key in MOMENTS:
                state[key] = torch.zeros_like(self.owner, memory_format=torch.preserve_format)
        state["step"].copy_(saved["step"])
        for key in MOMENTS:
            place = state[key][self.region]
            place.copy_(saved[key].reshape(place.shape))

    def _first_step(self) -> Tensor:
        """Give the count of steps as AdamW makes it: on the CPU, unless it is fused."""
        is_fused = any(group.get("fused") for group in self.optimizer.param_groups)
        device = self.owner.device if is_fused else torch.device("cpu")
        return torch.zeros((), dtype=torch.float32, device=device)


def own_pieces(engine: Any) -> Iterator[Piece]:
    """Yield this worker's pieces of the optimizer's state, in the order of the parameters.

    At stage 0 every worker has the whole state, and each is given its share of the parameters.
    """
    share = slice(dist.get_rank(), None, dist.get_world_size())
    whole = engine.zero_optimization_stage() == 0
    yield from list(all_pieces(engine))[share] if whole else all_pieces(engine)


def all_pieces(engine: Any) -> Iterator[Piece]:
    """Yield all of the optimizer's state that this worker has, in the order of the parameters."""
    locate = {0: _whole, 1: _of_flat_group, 2: _of_flat_group, 3: _of_sub_group}
    find = locate[engine.zero_optimization_stage()]
    for name, parameter in engine.module.named_parameters():
        if parameter.requires_grad and (found := find(engine.optimizer, parameter)):
            start, size, owner, region = found
            if size > 0:
                yield Piece(name, start, size, owner, region, engine.optimizer)


_Place = tuple[int, int, Tensor, slice | EllipsisType]


def _whole(_: Any, parameter: Tensor) -> _Place:
    return 0, parameter.numel(), parameter, ...


def _of_flat_group(optimizer: Any, parameter: Any) -> _Place | None:
    """Stages 1 and 2: the flat tensor of a group of parameters is cut, wherever that falls."""
    mapping = parameter._hp_mapping
    if mapping is None:
        return None
    here, there = mapping.lp_fragment_address, mapping.get_hp_fragment_address()
    owner = optimizer.single_partition_of_fp32_groups[mapping.param_group_index]
    return here.start, here.numel, owner, slice(there.start, there.start + there.numel)


def _of_sub_group(optimizer: Any, parameter: Any) -> _Place:
    """Stage 3: each parameter is cut into equal pieces, the last of them filled up."""
    group, offset, num_filled = optimizer.grad_position[optimizer.get_param_id(parameter)]
    start = dist.get_rank() * num_filled
    size = max(0, min(num_filled, parameter.ds_numel - start))
    return start, size, optimizer.fp32_partitioned_groups_flat[group], slice(offset, offset + size)
