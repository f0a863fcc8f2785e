"""What a checkpoint holds: DeepSpeed's state, the run's progress, and an export of each encoder.

It holds no random state, because every step draws its random numbers from its own seed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from upath import UPath

from omnimat.base.workspace import EXPORT
from omnimat.models.export import Card, save
from omnimat.training.engine import whole_parameters

TAG = "engine"
PROGRESS = "progress.json"
BUFFERS = "buffers.safetensors"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: number of steps done.
        world_size: number of workers that took the last of these steps.
        zero_stage: ZeRO stage, which says how their optimizer state was partitioned.
        quarantined: maps the id of each faulty material that any worker has met so far to the
            reason why it was quarantined.
    """

    step: int
    world_size: int
    zero_stage: int
    quarantined: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, checkpoint: UPath | Path) -> Progress:
        """Read the progress that a checkpoint records."""
        return cls(**json.loads((checkpoint / PROGRESS).read_text()))


def write_part(engine: Any, cards: Mapping[str, Card], progress: Progress, rank: int) -> Path:
    """Write this worker's part of a checkpoint to a new local folder; all workers must call.

    Args:
        engine: the DeepSpeed engine.
        cards: description of each encoder, which its export carries.
        progress: how far the run is.
        rank: rank of this worker.
    """
    folder = Path(tempfile.mkdtemp(prefix="omnimat-checkpoint-"))
    try:
        engine.save_checkpoint(str(folder), tag=TAG)
        with whole_parameters(engine):
            if rank == 0:
                (folder / PROGRESS).write_text(json.dumps(asdict(progress), indent=1))
                save_file(dict(engine.module.named_buffers()), folder / BUFFERS)
                for modality, card in cards.items():
                    save(UPath(folder) / EXPORT / modality, engine.module.encoders[modality], card)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def load_universal(engine: Any, folder: Path, tag: str, checkpoint: Path) -> None:
    """Load a universal checkpoint and restore what DeepSpeed 0.19 loses at ZeRO-3.

    DeepSpeed loses the running statistics, and it gives every parameter group the settings of the
    first one, so that biases and normalisation weights would be decayed from then on.

    Args:
        engine: the DeepSpeed engine.
        folder: folder that holds the universal checkpoint.
        tag: name of the universal checkpoint in that folder.
        checkpoint: the checkpoint that it was converted from.
    """
    groups = [{k: v for k, v in g.items() if k != "params"} for g in engine.optimizer.param_groups]
    engine.load_checkpoint(str(folder), tag=tag)
    for group, settings in zip(engine.optimizer.param_groups, groups, strict=True):
        group.update(settings)
    saved = load_file(checkpoint / BUFFERS)
    for name, buffer in engine.module.named_buffers():
        buffer.copy_(saved[name])
