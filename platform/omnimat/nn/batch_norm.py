"""Batch normalisation whose statistics can span every worker, on any device.

torch's own ``SyncBatchNorm`` works on CUDA only and talks to the process group itself. This layer
knows nothing about workers: training gives it a function ``reduce_moments``, which gathers the
local moments with gradient, and the layer merges them (Chan, Golub and LeVeque, 1979). A batch that
is split over workers then gives the values and gradients of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.nn.precision import at_least_single, widened

ReduceMoments = Callable[[Tensor], Tensor]


def local_moments(values: Tensor, counts: Tensor | None = None) -> Tensor:
    """Return the count, mean and M2 (sum of squared deviations) of each channel.

    Args:
        values: batch of shape (n, C, ...), where n may be 0.
        counts: how often each row counts, shape (n,); None for once.

    Returns:
        The three moments, shape (3, C); all are zero for an empty batch.
    """
    num_rows = len(values) if counts is None else counts.sum()
    count = values.new_zeros(values.shape[1]) + num_rows * values.shape[2:].numel()
    mean = _channel_sums(values, counts) / count.clamp(min=1)
    squares = (values - _along_channels(mean, values)).square()
    return torch.stack([count, mean, _channel_sums(squares, counts)])


def merge_moments(moments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Merge the moments of several workers.

    Args:
        moments: count, mean and M2 of each worker, shape (workers, 3, C).

    Returns:
        Count, mean and M2 of the union, each of shape (C,).
    """
    counts, means, squares = moments.unbind(1)
    count = counts.sum(0)
    mean = (counts * means).sum(0) / count.clamp(min=1)
    return count, mean, (squares + counts * (means - mean).square()).sum(0)


class BatchNorm(nn.Module):
    """Batch normalisation over axis 0 and all axes after the channel axis 1.

    On one process it equals ``torch.nn.BatchNorm1d/2d/3d`` and has the same state-dict keys, with
    two differences. An empty batch is allowed, and a batch with one value per channel, which has no
    variance, is normalised with the running statistics and not tracked. Moments and running
    statistics have at least float32 precision, even in a module converted to bfloat16.

    Attributes:
        reduce_moments: function that maps this worker's moments of shape (3, C) to those of all
            workers, shape (workers, 3, C), with gradient; None where one process holds the whole
            batch. Every worker calls it equally often, even with an empty batch.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.reduce_moments: ReduceMoments | None = None

    def forward(self, values: Tensor, counts: Tensor | None = None) -> Tensor:
        """Normalise (n, C, ...) to the same shape and dtype.

        Args:
            values: batch of shape (n, C, ...).
            counts: how often each row counts in the statistics, shape (n,); None for once.
        """
        if self.training and (self.reduce_moments is not None or counts is not None):
            return self._normalise_by_moments(values, counts)
        use_batch = False
        if self.training and values.numel() // values.shape[1] >= 2:
            use_batch = True  # not the comparison: compiled, that of a variable size is no boolean
            self.num_batches_tracked.add_(1)
        return F.batch_norm(
            values,
            self.running_mean,
            self.running_var,
            self.weight.to(self.running_mean.dtype),
            self.bias.to(self.running_mean.dtype),
            training=use_batch,
            momentum=self.momentum,
            eps=self.eps,
        )

    def _normalise_by_moments(self, values: Tensor, counts: Tensor | None) -> Tensor:
        wide = widened(values)
        moments = local_moments(wide, counts)
        of_workers = moments[None] if self.reduce_moments is None else self.reduce_moments(moments)
        count, mean, squares = merge_moments(of_workers)
        enough = count >= 2
        self._track(enough, mean.detach(), squares.detach() / (count - 1).clamp(min=1))
        mean = torch.where(enough, mean, self.running_mean)
        variance = torch.where(enough, squares / count.clamp(min=1), self.running_var)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        centred = wide - _along_channels(mean, wide)
        # Times one, so that the gradient of the bias has memory of its own. With a single value per
        # channel it would lie in the result's gradient, where that of another layer may lie too if
        # the results are added; then what a second backward pass adds to one is added to both.
        bias = 1 * self.bias
        normal = centred * _along_channels(scale, wide) + _along_channels(bias, wide)
        return normal.to(values.dtype)

    @torch.no_grad()
    def _track(self, enough: Tensor, mean: Tensor, unbiased_variance: Tensor) -> None:
        # Where there is too little to track, a weight of zero keeps the statistics as they are,
        # without a copy of the count from the device.
        weight = self.momentum * enough.to(self.running_mean.dtype)
        self.running_mean.lerp_(mean.to(weight.dtype), weight)
        self.running_var.lerp_(unbiased_variance.to(weight.dtype), weight)
        self.num_batches_tracked.add_(enough.all())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # module.bfloat16() must not round the running statistics.
        kept = {"running_mean": self.running_mean, "running_var": self.running_var}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, statistic in kept.items():
            converted = getattr(self, name)
            if at_least_single(converted.dtype) != converted.dtype:
                setattr(self, name, statistic.to(converted.device))
        return self


def _channel_sums(values: Tensor, counts: Tensor | None) -> Tensor:
    """Sum (n, C, ...) over all but the channels, each row as often as it counts."""
    if counts is not None:
        values = values * counts.view(-1, *[1] * (values.dim() - 1))
    return values.sum([0, *range(2, values.dim())])


def _along_channels(channel_values: Tensor, like: Tensor) -> Tensor:
    return channel_values.view(1, -1, *[1] * (like.dim() - 2))
