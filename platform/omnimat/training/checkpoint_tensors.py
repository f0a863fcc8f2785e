"""Reads the tensors of a checkpoint into a model and an engine, and takes none that do not fit."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from omnimat.base.errors import RunError
from omnimat.training.engine_state import MOMENTS, Piece, all_pieces

_KEY = "|".join((*MOMENTS, "step"))
_PIECE = re.compile(rf"({_KEY})/(?P<start>0|[1-9][0-9]{{0,17}})/(?P<name>.+)")


class OtherModelError(RunError):
    """A checkpoint holds other tensors than the model needs; the message names file and tensor."""


def _misfit(file: Path, what: str) -> OtherModelError:
    return OtherModelError(
        f"{file}: {what}; it was written for another model or by another version of omnimat: "
        "begin anew with --fresh"
    )


class SavedTensors:
    """The tensors of several files, each read when it is asked for.

    Attributes:
        files: file of each tensor, by name.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """Open files of a folder.

        Raises:
            OtherModelError: one is no safetensors file, or two have a tensor of the same name.
        """
        self.files: dict[str, Path] = {}
        self._opened: dict[Path, Any] = {}
        self._folder = folder
        for file in (folder / name for name in names):
            try:
                self._opened[file] = safe_open(file, framework="pt")
            except SafetensorError as error:
                raise _misfit(file, f"it is no safetensors file ({error})") from error
            for name in self._opened[file].keys():  # noqa: SIM118 - it is no mapping
                if name in self.files:
                    raise _misfit(file, f"tensor {name!r} is in {self.files[name].name} too")
                self.files[name] = file

    def read(self, name: str, like: Tensor) -> Tensor:
        """Read a tensor, which must have the shape and the type of another.

        Raises:
            OtherModelError: it is missing or has not.
        """
        if name not in self.files:
            raise _misfit(self._folder, f"tensor {name!r} is missing")
        value: Tensor = self._opened[self.files[name]].get_tensor(name)
        if value.shape != like.shape or value.dtype != like.dtype:
            raise _misfit(
                self.files[name],
                f"tensor {name!r} is {value.dtype} of shape {tuple(value.shape)}, and the model "
                f"needs {like.dtype} of shape {tuple(like.shape)}",
            )
        return value


@torch.no_grad()
def load_weights(model: nn.Module, saved: SavedTensors) -> None:
    """Overwrite the parameters and buffers of a model that is not wrapped in an engine yet.

    Raises:
        OtherModelError: the saved tensors are not those of the model.
    """
    own = dict(itertools.chain(model.named_parameters(), model.named_buffers()))
    for name in saved.files.keys() - own.keys():
        raise _misfit(saved.files[name], f"tensor {name!r} is not of this model")
    for name, target in own.items():
        target.copy_(saved.read(name, target))


@torch.no_grad()
def load_optimizer(engine: Any, saved: SavedTensors) -> None:
    """Overwrite the optimizer's state of this worker, whatever the workers were that saved it.

    A parameter of which nothing was saved had not been updated yet, and is left as it is.

    Raises:
        OtherModelError: the saved tensors are not those of the model's parameters.
    """
    sizes = {name: _size(p) for name, p in engine.module.named_parameters() if p.requires_grad}
    starts = _starts(saved, sizes.keys())
    for piece in all_pieces(engine):
        if piece.name in starts:
            piece.write(_pieced_together(piece, sizes[piece.name], starts[piece.name], saved))


def _size(parameter: Any) -> int:
    """Count a parameter's elements, also where it is partitioned."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _starts(saved: SavedTensors, parameters: Collection[str]) -> dict[str, list[int]]:
    """Return where the saved pieces of each parameter begin, in ascending order."""
    found = defaultdict(set)
    for tensor, file in saved.files.items():
        match = _PIECE.fullmatch(tensor)
        if match is None or match["name"] not in parameters:
            raise _misfit(file, f"tensor {tensor!r} is not of this model's optimizer")
        found[match["name"]].add(int(match["start"]))
    return {name: sorted(starts) for name, starts in found.items()}


def _pieced_together(
    piece: Piece, total: int, starts: list[int], saved: SavedTensors
) -> dict[str, Tensor]:
    """Cut this worker's piece out of those that were saved, which must leave no gap."""

    def whole(key: str) -> Tensor:
        ends = itertools.pairwise([0, *starts[1:], total])
        like = [torch.empty(max(0, stop - start), device="meta") for start, stop in ends]
        names = [f"{key}/{start}/{piece.name}" for start in starts]
        return torch.cat([saved.read(*both) for both in zip(names, like, strict=True)])

    own = slice(piece.start, piece.start + piece.size)
    step = saved.read(f"step/{starts[0]}/{piece.name}", torch.empty((), device="meta"))
    return {"step": step} | {key: whole(key)[own] for key in MOMENTS}
