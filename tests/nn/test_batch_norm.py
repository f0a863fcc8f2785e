import copy

import pytest
import torch
from torch import Tensor, nn

from omnimat.nn.batch_norm import BatchNorm, local_moments, merge_moments

SHAPES = [(7, 5), (4, 5, 6), (3, 5, 2, 3, 2)]
TORCH_LAYERS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 5: nn.BatchNorm3d}


def randomise(layer: nn.Module) -> None:
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2)
        layer.bias.normal_()


def over_two_workers(layer: BatchNorm, one: Tensor, two: Tensor) -> tuple[BatchNorm, BatchNorm]:
    """Make two workers that share parameters and see each other's moments, with gradient."""
    workers = []
    for other in (two, one):
        worker = copy.copy(layer)
        worker._buffers = {name: buffer.clone() for name, buffer in layer._buffers.items()}
        worker.reduce_moments = lambda own, other=other: torch.stack([own, local_moments(other)])
        workers.append(worker)
    return workers[0], workers[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_torch_on_one_process(shape: tuple[int, ...]) -> None:
    ours, theirs = BatchNorm(5), TORCH_LAYERS[len(shape)](5)
    randomise(ours)
    theirs.load_state_dict(ours.state_dict())
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        values = (3 * torch.randn(shape) + 2).requires_grad_()
        twin = values.detach().clone().requires_grad_()
        weights = torch.randn(shape)
        (ours(values) * weights).sum().backward()
        (theirs(twin) * weights).sum().backward()
        torch.testing.assert_close(values.grad, twin.grad)
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
        torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_batch_split_over_two_workers_is_one_batch(shape: tuple[int, ...], size: int) -> None:
    whole = BatchNorm(5).double()
    randomise(whole)
    split = copy.deepcopy(whole)
    values = (3 * torch.randn(shape, dtype=torch.float64) + 2).requires_grad_()
    twin = values.detach().clone().requires_grad_()
    weights = torch.randn(shape, dtype=torch.float64)

    expected = whole(values)
    (expected * weights).sum().backward()
    one, two = over_two_workers(split, twin[:size], twin[size:])
    given = torch.cat([one(twin[:size]), two(twin[size:])])
    (given * weights).sum().backward()

    torch.testing.assert_close(given, expected)
    torch.testing.assert_close(twin.grad, values.grad)
    torch.testing.assert_close(split.weight.grad, whole.weight.grad)
    torch.testing.assert_close(split.bias.grad, whole.bias.grad)
    for worker in (one, two):
        for name, statistic in whole.named_buffers():
            torch.testing.assert_close(getattr(worker, name), statistic)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("is_shared", [False, True], ids=["one worker", "two workers"])
def test_a_row_that_counts_often_is_as_many_rows(shape: tuple[int, ...], is_shared: bool) -> None:
    plain = BatchNorm(5).double()
    randomise(plain)
    counted = copy.deepcopy(plain)
    if is_shared:
        other = local_moments(torch.randn(shape, dtype=torch.float64))
        for layer in (plain, counted):
            layer.reduce_moments = lambda own: torch.stack([own, other])
    values = (3 * torch.randn(shape, dtype=torch.float64) + 2).requires_grad_()
    twin = values.detach().clone().requires_grad_()
    counts = torch.arange(len(values)) + 1
    rows = torch.arange(len(values)).repeat_interleave(counts)

    weights = torch.randn(len(rows), *shape[1:], dtype=torch.float64)
    (plain(values[rows]) * weights).sum().backward()
    (counted(twin, counts.double())[rows] * weights).sum().backward()

    torch.testing.assert_close(twin.grad, values.grad)
    torch.testing.assert_close(counted.weight.grad, plain.weight.grad)
    torch.testing.assert_close(dict(counted.state_dict()), dict(plain.state_dict()))


def test_merging_keeps_precision_far_from_zero() -> None:
    # A plain sum of squares would lose all digits: the mean is 10^4 standard deviations.
    values = (1e4 + torch.randn(64, 3, dtype=torch.float64)).float()
    moments = torch.stack([local_moments(part) for part in values.split(16)])
    count, mean, squares = merge_moments(moments)
    torch.testing.assert_close(mean, values.double().mean(0).float())
    # float32 means are accurate to 1e-3 here, and their error enters the variance squared.
    variance = values.double().var(0, correction=0).float()
    torch.testing.assert_close(squares / count, variance, rtol=1e-4, atol=0)


@pytest.mark.parametrize("distributed", [False, True])
@pytest.mark.parametrize("size", [0, 1])
def test_without_a_variance_the_running_statistics_serve(distributed: bool, size: int) -> None:
    layer = BatchNorm(4)
    layer(torch.randn(9, 4) + 1)
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    if distributed:
        layer.reduce_moments = lambda own: torch.stack([own, torch.zeros_like(own)])
    values = torch.randn(size, 4)
    given = layer(values)
    given.sum().backward()
    torch.testing.assert_close(given, layer.eval()(values))
    torch.testing.assert_close(dict(layer.named_buffers()), before)
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    assert bool((layer.bias.grad == size).all())


def test_two_layers_that_are_added_share_no_gradient() -> None:
    """With one value per channel, as of one material whose map has shrunk to a single voxel."""
    layers = [BatchNorm(3), BatchNorm(3)]
    for layer in layers:
        layer.reduce_moments = lambda own: own[None]
    values = torch.randn(1, 3, 1, 1, 1)
    for _ in range(2):  # as of two micro-batches
        total = layers[0](values) + layers[1](values)
        (total * torch.ones_like(total)).sum().backward()
    for layer in layers:
        assert layer.bias.grad is not None
        assert layer.bias.grad.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("distributed", [False, True])
def test_half_precision_keeps_single_precision_statistics(distributed: bool) -> None:
    layer = BatchNorm(4).bfloat16()
    if distributed:
        layer.reduce_moments = lambda own: own[None]
    assert layer.weight.dtype == torch.bfloat16
    values = (torch.randn(256, 4) + 3).bfloat16()
    given = layer(values)
    assert given.dtype == torch.bfloat16
    assert layer.running_mean.dtype == layer.running_var.dtype == torch.float32
    torch.testing.assert_close(layer.running_mean, 0.1 * values.float().mean(0))
    expected = nn.functional.batch_norm(values.float(), None, None, training=True)
    # One rounding to bfloat16 changes a value by half a unit in the last of 8 bits.
    torch.testing.assert_close(given.float(), expected, rtol=2**-8, atol=2**-8)
