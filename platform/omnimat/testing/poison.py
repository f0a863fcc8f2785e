"""Files that run a command once somebody unpickles them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from upath import UPath

from omnimat.training.checkpoint_manifest import MANIFEST, CheckpointFile, CheckpointManifest

OLD_NAMES = (
    "engine/mp_rank_00_model_states.pt",
    "engine/zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "engine/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "latest",
    "buffers.safetensors",
    "done-00000-of-00001",
)
"""Files of a checkpoint as DeepSpeed wrote it."""


class _Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def poison(marker: Path) -> bytes:
    """Return a file as ``torch.save`` writes it, which makes a folder when it is unpickled."""
    buffer = io.BytesIO()
    torch.save(_Bomb(marker), buffer)
    return buffer.getvalue()


def put(checkpoint: Path, names: Iterable[str], data: bytes) -> None:
    """Put the same bytes under several names of a checkpoint."""
    for name in names:
        (checkpoint / name).parent.mkdir(parents=True, exist_ok=True)
        (checkpoint / name).write_bytes(data)


def listed(checkpoint: Path) -> list[str]:
    """Name the files that a manifest lists."""
    return list(CheckpointManifest.read(UPath(checkpoint)).files)


def seal(checkpoint: Path) -> None:
    """Make the manifest agree with the files that it lists, whatever they hold now."""
    manifest = CheckpointManifest.read(UPath(checkpoint))
    files = {name: CheckpointFile.of(checkpoint / name) for name in manifest.files}
    agreeing = manifest.model_copy(update={"files": files})
    (checkpoint / MANIFEST).write_text(agreeing.model_dump_json())
