"""Blocked reductions against the whole matrix, at sizes where rounding shows."""

import pytest
import torch
from torch.nn import functional

from omnimat.objectives.blocks import Comparison, LogSumExp, SoftplusSum, reduce_rows

NUM_QUERIES, NUM_KEYS, FIRST, DIM = 700, 1100, 150, 32
REDUCTIONS = [LogSumExp(), LogSumExp(excludes_positives=True), SoftplusSum(bias=-4.0)]


def run(reduction, block_size, dtype, inverse_temperature, backward_context=None):
    generator = torch.Generator().manual_seed(2)
    queries, keys = (
        functional.normalize(torch.randn(n, DIM, generator=generator, dtype=torch.float64), dim=1)
        .to(dtype)
        .requires_grad_()
        for n in (NUM_QUERIES, NUM_KEYS)
    )
    factor = torch.tensor([inverse_temperature], dtype=torch.float64).to(dtype).requires_grad_()
    valid = torch.rand(NUM_KEYS, generator=generator) < 0.8
    if block_size is None:
        rows = reduced_by_hand(reduction, queries, keys, factor, valid)
    else:
        rows = reduce_rows(queries, keys, factor, Comparison(valid, FIRST, reduction, block_size))
    weights = torch.linspace(-1, 2, len(rows), dtype=dtype)  # rows weigh differently
    rows = torch.where(valid[FIRST : FIRST + NUM_QUERIES], rows, torch.zeros_like(rows))
    with backward_context or torch.enable_grad():
        return rows.detach(), *torch.autograd.grad((weights * rows).sum(), [queries, keys, factor])


def reduced_by_hand(reduction, queries, keys, factor, valid):
    """Reduce only what is compared, each query by itself."""
    reduced = []
    for place, query in enumerate(queries, start=FIRST):
        chosen = valid.clone()
        if reduction.excludes_positives:
            chosen[place] = False
        logits = factor * (keys[chosen] @ query)
        if isinstance(reduction, SoftplusSum):
            reduced.append(functional.softplus(logits + reduction.bias, threshold=1e9).sum())
        else:
            reduced.append(logits.logsumexp(0))
    return torch.stack(reduced)


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_masks_equal_what_is_cut_out(reduction):
    masked = run(reduction, NUM_KEYS, torch.float64, 5.0)
    torch.testing.assert_close(
        masked, run(reduction, None, torch.float64, 5.0), rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
@pytest.mark.parametrize("block_size", [64, 333, 999])
def test_blocked_equals_whole_in_double(reduction, block_size):
    blocked = run(reduction, block_size, torch.float64, 5.0)
    whole = run(reduction, NUM_KEYS, torch.float64, 5.0)
    torch.testing.assert_close(blocked, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("inverse_temperature", [1.0, 100.0])
@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_blocked_in_single_is_as_near_to_double_as_the_whole_is(reduction, inverse_temperature):
    exact = run(reduction, NUM_KEYS, torch.float64, inverse_temperature)
    errors = []
    for block_size in (NUM_KEYS, 128):
        result = run(reduction, block_size, torch.float32, inverse_temperature)
        errors.append(
            max(
                float((ours.double() - theirs).norm() / theirs.norm())
                for ours, theirs in zip(result, exact, strict=True)
            )
        )
    whole, blocked = errors
    # Measured at most 4e-7 at logits of 1, and 3e-6 at logits of 100, which float32 spaces by 8e-6.
    assert blocked < 1e-5
    assert blocked < 2 * whole + 1e-6


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_backward_under_autocast_stays_in_single(reduction):
    plain = run(reduction, 128, torch.float32, 10.0)
    cast = run(reduction, 128, torch.float32, 10.0, torch.autocast("cpu", dtype=torch.bfloat16))
    torch.testing.assert_close(cast, plain, rtol=0, atol=0)


@pytest.mark.parametrize("block_size", [128, NUM_KEYS])
def test_rows_that_are_not_compared_get_exactly_zero(block_size):
    rows, to_queries, to_keys, _ = run(LogSumExp(), block_size, torch.float32, 10.0)
    assert ((to_queries == 0).all(1) == (rows == 0)).all()
    assert 100 < (rows == 0).sum() < 180
    assert 180 < (to_keys == 0).all(1).sum() < 260
