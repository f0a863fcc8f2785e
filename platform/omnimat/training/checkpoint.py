"""Checkpoints: DeepSpeed's folder, how far the run is, and an export of each encoder.

No random state is kept: every step draws from its own seed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from upath import UPath

from omnimat.encoders.export import Card, save
from omnimat.materials.record import Modality
from omnimat.materials.workspace import EXPORT
from omnimat.training.context import WorkerContext
from omnimat.training.engine import whole_parameters

TAG = "engine"
QUARANTINE = "quarantine.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: steps done.
        quarantined: material id -> reason, of all workers' records that came with a fault so far.
    """

    step: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)


def save_checkpoint(
    engine: Any, cards: Mapping[Modality, Card], progress: Progress, context: WorkerContext
) -> Path:
    """Write this worker's part of a checkpoint to a new local folder; all workers must call.

    Args:
        engine: the DeepSpeed engine.
        cards: what each encoder's export says of itself.
        progress: how far the run is.
        context: of this worker.
    """
    folder = Path(tempfile.mkdtemp(prefix="omnimat-checkpoint-"))
    engine.save_checkpoint(str(folder), tag=TAG, client_state=asdict(progress))
    with whole_parameters(engine):
        if context.rank == 0:
            (folder / QUARANTINE).write_text(json.dumps(progress.quarantined, indent=1))
            for modality, card in cards.items():
                save(UPath(folder) / EXPORT / modality, engine.module.encoders[modality], card)
    return folder


def resume(engine: Any, context: WorkerContext) -> Progress:
    """Load the newest checkpoint, if any, and say how far it is."""
    with context.latest_checkpoint() as folder:
        if folder is None:
            return Progress()
        _, state = engine.load_checkpoint(str(folder), tag=TAG)
    return Progress(state["step"], state["quarantined"])
