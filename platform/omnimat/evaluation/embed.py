"""Embeddings of a split by an exported encoder."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from upath import UPath

from omnimat.encoders.batch import ModalityTensors
from omnimat.encoders.export import load
from omnimat.evaluation.inputs import featurizers_of, only_modalities
from omnimat.features.batch import collate
from omnimat.materials.errors import RunError
from omnimat.stream.store import FeatureStore


@torch.no_grad()
def embed(
    store: FeatureStore, folder: UPath, positions: NDArray[np.int64], batch_size: int = 256
) -> tuple[Tensor, Tensor]:
    """Embed records of a store as ``Multimodal`` does in evaluation mode.

    Args:
        store: holds the encoder's modality.
        folder: of the exported encoder.
        positions: (N,) rows of the store.
        batch_size: records embedded at a time.

    Returns:
        (N, d) float32, unit rows where the modality is present and zero elsewhere, and the
        boolean (N,) that says where it is.

    Raises:
        UserError: if the folder holds no export.
        RunError: if an embedding is not finite.
    """
    encoder, card = load(folder)
    featurizers = featurizers_of({card.modality: card})
    features = only_modalities(store, featurizers)
    values = torch.zeros(len(positions), card.embedding_dim)
    present = torch.zeros(len(positions), dtype=torch.bool)
    for start in range(0, len(positions), batch_size):
        table = features.table(positions[start : start + batch_size])
        tensors = ModalityTensors.from_numpy(collate(table, featurizers).modalities[card.modality])
        rows = start + tensors.rows
        values[rows] = F.normalize(encoder(tensors.arrays).float(), dim=-1)
        present[rows] = True
    if not values.isfinite().all():
        raise RunError(
            f"run: the encoder in {folder} gives embeddings that are not finite: it diverged; "
            "pretrain it again with a smaller training.lr"
        )
    return values, present
