"""What a checkpoint holds: weights, the optimizer's state, progress, and an export of each encoder.

Tensors are stored as safetensors by the name of their parameter, and the rest as JSON, so that any
number of workers can read what any other number wrote, and nothing is ever unpickled.

=============================  ====================================================================
``weights-<r>-of-<n>``         whole parameters, by name; that of rank 0 has the buffers too
``optimizer-<r>-of-<n>``       pieces of the optimizer's state, ``<key>/<start>/<parameter>``
``progress.json``              how far the run is
``export/<modality>/``         each encoder as it is now
=============================  ====================================================================

It holds no random state, because every step draws its random numbers from its own seed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch.distributed as dist
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from upath import UPath

from omnimat.base.scratch import new_folder
from omnimat.base.settings import first_mistake
from omnimat.base.workspace import EXPORT
from omnimat.models.export import Card, save
from omnimat.training.checkpoint_manifest import DamagedCheckpointError
from omnimat.training.checkpoint_store import CheckpointError
from omnimat.training.engine import whole_parameters
from omnimat.training.engine_state import own_pieces

PROGRESS = "progress.json"
WEIGHTS, OPTIMIZER = "weights", "optimizer"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: number of steps done.
        quarantined: maps the id of each faulty material that any worker has met so far to the
            reason why it was quarantined.
    """

    step: int
    quarantined: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, checkpoint: UPath | Path) -> Progress:
        """Read the progress that a checkpoint records.

        Raises:
            DamagedCheckpointError: the file does not hold it.
        """
        return cls.parsed((checkpoint / PROGRESS).read_bytes(), checkpoint / PROGRESS)

    @classmethod
    def parsed(cls, data: bytes, file: UPath | Path) -> Progress:
        """Parse what was read of such a file.

        Raises:
            DamagedCheckpointError: it holds no progress.
        """
        try:
            return TypeAdapter(cls).validate_json(data)
        except ValidationError as error:
            raise DamagedCheckpointError(f"{file} is damaged: {first_mistake(error)}") from error


def tensor_file(kind: str, rank: int, world_size: int) -> str:
    """Name the file that a worker writes.

    Args:
        kind: ``WEIGHTS`` or ``OPTIMIZER``.
        rank: rank of the worker.
        world_size: number of workers.
    """
    return f"{kind}-{rank:05d}-of-{world_size:05d}.safetensors"


def write_part(engine: Any, cards: Mapping[str, Card], progress: Progress) -> Path:
    """Write this worker's part of a checkpoint to a new local folder; all workers must call.

    Args:
        engine: the DeepSpeed engine.
        cards: description of each encoder, which its export carries.
        progress: how far the run is.

    Raises:
        CheckpointError: the disk of temporary files failed or is full.
        UserError: a file of the export may not be written.
        RunError: there is no room for a file of the export.
    """
    folder = new_folder("checkpoint")
    with _whole_or_gone(folder):
        _write_part(folder, engine, cards, progress)
    return folder


@contextmanager
def _whole_or_gone(folder: Path) -> Iterator[None]:
    """Remove a folder that could not be written to the end, and say why in one sentence."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError | SafetensorError):
            raise CheckpointError(
                f"{folder} could not be written ({error}): free some space on its disk, or name "
                "another in $TMPDIR, and submit the job again"
            ) from error
        raise


def _write_part(folder: Path, engine: Any, cards: Mapping[str, Card], progress: Progress) -> None:
    rank, world_size = dist.get_rank(), dist.get_world_size()
    _write_tensors(folder / tensor_file(OPTIMIZER, rank, world_size), _own_state(engine))
    with whole_parameters(engine):
        weights = dict(list(engine.module.named_parameters())[rank::world_size])
        if rank == 0:
            weights |= dict(engine.module.named_buffers())
            (folder / PROGRESS).write_text(json.dumps(asdict(progress), indent=1))
            for modality, card in cards.items():
                save(UPath(folder) / EXPORT / modality, engine.module.encoders[modality], card)
        _write_tensors(folder / tensor_file(WEIGHTS, rank, world_size), weights)


def _own_state(engine: Any) -> dict[str, Tensor]:
    return {
        f"{key}/{piece.start}/{piece.name}": value
        for piece in own_pieces(engine)
        for key, value in piece.read().items()
    }


def _write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, file)
