"""Measures how long an objective takes to compare rows, by itself and on random embeddings.

In steps on one worker, whose batches are small, this time is lost in the noise; in a run it grows
with the global batch.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from omnimat.objectives.barlow_twins import BarlowTwinsSettings
from omnimat.objectives.contrastive import mean_over_groups
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.none import NoContrastSettings
from omnimat.objectives.registry import AnyObjective
from omnimat.objectives.tensor_clip import TensorClipSettings
from omnimat.training.settings import PretrainSettings
from omnimat.training.stopwatch import Stopwatch

NUM_COMPARISONS = (4096, 8192)
"""Comparisons of each row in two global batches, above the usual block size as in large runs."""
NUM_REPEATS = 5


def num_others(objective: AnyObjective) -> Literal[0, 1, 2]:
    """Return how many other materials each is compared with at once: 1, or 2 for tensor CLIP.

    It is 0 for Barlow Twins, which compares dimensions instead of materials, and where nothing is
    compared. The time that it takes to standardise the global batch is not counted.
    """
    if isinstance(objective, BarlowTwinsSettings | NoContrastSettings):
        return 0
    return 2 if isinstance(objective, TensorClipSettings) else 1


def comparison_s(settings: PretrainSettings) -> float:
    """Measure the seconds per comparison of a material with one or two others, both passes.

    Costs that do not grow with the global batch, such as launching kernels, are not included,
    because this is the difference between two batches of which the worker has the same share.
    """
    power = num_others(settings.objective)
    if not power:
        return 0.0
    training = settings.training
    device = torch.device("cuda" if training.on_gpu else "cpu")
    torch.set_num_threads(training.threads_per_worker)
    fewer, more = (round(math.pow(count, 1 / power)) for count in NUM_COMPARISONS)
    share = min(fewer, 1024 if training.on_gpu else 128)
    seconds = _loss_s(settings, share, more, device) - _loss_s(settings, share, fewer, device)
    return max(seconds, 0.0) / (share * (math.pow(more, power) - math.pow(fewer, power)))


def _loss_s(
    settings: PretrainSettings, share: int, global_batch_size: int, device: torch.device
) -> float:
    """Measure the shortest time of a worker's share of the loss and its gradient."""
    local = _random_embeddings(settings, share, device)
    everyone = _random_embeddings(settings, global_batch_size, device)
    logit_scale = torch.zeros(1, device=device, requires_grad=True)
    stopwatch = Stopwatch(device)
    seconds = []
    for _ in range(1 + NUM_REPEATS):  # the first one warms up
        stopwatch.read()
        loss = mean_over_groups(settings.objective(local, everyone, 0, logit_scale))
        loss.backward()  # type: ignore[no-untyped-call]
        seconds.append(sum(stopwatch.read().values()))
    return min(seconds[1:])


def _random_embeddings(
    settings: PretrainSettings, num_materials: int, device: torch.device
) -> Embeddings:
    """Draw random embeddings of materials, as the encoders might return, as leaves of a graph."""
    objective, names = settings.objective, settings.modalities.encoders()
    num_rows = num_materials * objective.num_views
    heads = (objective.num_heads,) if objective.num_heads > 1 else ()

    def column() -> Tensor:
        values = torch.randn(num_rows, *heads, settings.embedding_dim, device=device)
        return functional.normalize(values, dim=-1).requires_grad_()

    present = torch.ones(num_rows, dtype=torch.bool, device=device)
    return Embeddings({name: column() for name in names}, dict.fromkeys(names, present))
