"""Checkpoints: DeepSpeed's folder, the step, the random state, and an export of each encoder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from upath import UPath

from omnimat.encoders.export import Card, save
from omnimat.materials.record import Modality
from omnimat.training.context import WorkerContext
from omnimat.training.engine import whole_parameters

TAG = "engine"
EXPORT = "export"


def save_checkpoint(
    engine: Any, cards: Mapping[Modality, Card], *, step: int, context: WorkerContext
) -> Path:
    """Write this worker's part of a checkpoint to a new local folder; all workers must call.

    Args:
        engine: the DeepSpeed engine.
        cards: what each encoder's export says of itself.
        step: steps done.
        context: of this worker.
    """
    folder = Path(tempfile.mkdtemp(prefix="omnimat-checkpoint-"))
    state = {"step": step, "torch_rng": torch.get_rng_state()}
    engine.save_checkpoint(str(folder), tag=TAG, client_state=state)
    with whole_parameters(engine):
        if context.rank == 0:
            for modality, card in cards.items():
                save(UPath(folder) / EXPORT / modality, engine.module.encoders[modality], card)
    return folder


def resume(engine: Any, context: WorkerContext) -> int:
    """Load the newest checkpoint, if any.

    Returns:
        Steps already done.
    """
    with context.latest_checkpoint() as folder:
        if folder is None:
            return 0
        _, state = engine.load_checkpoint(str(folder), tag=TAG)
    torch.set_rng_state(state["torch_rng"])
    return int(state["step"])


def seed_everything(seed: int) -> None:
    """Seed torch and NumPy alike on every worker, so that all start from the same weights."""
    torch.manual_seed(seed)
    np.random.seed(seed)
