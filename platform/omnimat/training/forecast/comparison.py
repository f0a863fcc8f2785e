"""What an objective takes to compare rows: timed by itself, on random embeddings.

In steps on one worker, whose batches are small, it is lost in the noise; in a run it grows with the
global batch.
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
from omnimat.objectives.registry import AnyObjective
from omnimat.objectives.tensor_clip import TensorClipSettings
from omnimat.training.settings import PretrainSettings
from omnimat.training.stopwatch import Stopwatch

NUM_COMPARISONS = (4096, 8192)
"""Of each row, in two global batches; above the usual block size, as in the batches that matter."""
NUM_REPEATS = 5


def num_others(objective: AnyObjective) -> Literal[0, 1, 2]:
    """Say with how many materials at once an objective compares each: one, or two.

    None with Barlow Twins, which compares dimensions; what it takes to bring the global batch to
    mean 0 and variance 1 is left out.
    """
    if isinstance(objective, BarlowTwinsSettings):
        return 0
    return 2 if isinstance(objective, TensorClipSettings) else 1


def comparison_s(settings: PretrainSettings) -> float:
    """Give the seconds of a comparison of a material with another, or others, both passes.

    What does not grow with the global batch, as the launching of kernels, is not in it: it is the
    difference between two batches, of which a worker has an equally large share.
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
    """Give the least time of a worker's share of the loss and its gradient."""
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
    """Draw what the encoders could give for so many materials, as leaves of a graph."""
    objective, names = settings.objective, settings.modalities.names
    num_rows = num_materials * objective.num_views
    heads = (objective.num_heads,) if objective.num_heads > 1 else ()

    def column() -> Tensor:
        values = torch.randn(num_rows, *heads, settings.embedding_dim, device=device)
        return functional.normalize(values, dim=-1).requires_grad_()

    present = torch.ones(num_rows, dtype=torch.bool, device=device)
    return Embeddings({name: column() for name in names}, dict.fromkeys(names, present))
