import numpy as np
import pytest

from omnimat.stream.order import BatchPlan, epoch_order, shares_of_batch, split_into_units

SHARDS = np.repeat(np.arange(10), 7)


def order(seed=0, epoch=0, window_shards=3):
    return epoch_order(SHARDS, seed=seed, epoch=epoch, window_shards=window_shards)


def plan(**changes):
    values = {"global_batch_size": 8, "num_epochs": 3, "seed": 5, "window_shards": 3}
    return BatchPlan(SHARDS, **(values | changes))


def test_an_epoch_is_a_permutation_of_seed_and_epoch():
    np.testing.assert_array_equal(np.sort(order()), np.arange(len(SHARDS)))
    np.testing.assert_array_equal(order(), order())
    for other in (order(seed=1), order(epoch=1)):
        assert (order() != other).any()
    # Seed 1 epoch 0 and seed 0 epoch 1 are no relatives.
    assert (order(seed=1) != order(epoch=1)).any()


@pytest.mark.parametrize("window_shards", [1, 3, 10, 99])
def test_a_window_mixes_that_many_shards(window_shards):
    shards = SHARDS[order(window_shards=window_shards)]
    size = 7 * window_shards
    windows = [shards[i : i + size] for i in range(0, len(shards), size)]
    for window in windows:
        assert len(np.unique(window)) <= window_shards
    assert sum(len(np.unique(w)) for w in windows) == 10  # no shard is opened in two windows
    if window_shards == 3:
        assert (np.diff(windows[0]) != 0).sum() > 7  # mixed, and not one shard after another


def test_the_shard_numbers_themselves_do_not_matter():
    np.testing.assert_array_equal(
        order(), epoch_order(SHARDS * 100 + 7, seed=0, epoch=0, window_shards=3)
    )


@pytest.mark.parametrize("world_size", range(2, 9))
def test_workers_together_see_the_same_global_batches(world_size):
    (alone,) = [plan().worker_batches(1, rank=0, world_size=1)]
    shares = [
        plan().worker_batches(1, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    assert {share.shape for share in shares} <= {(8, 8 // world_size), (8, -(-8 // world_size))}
    np.testing.assert_array_equal(np.concatenate(shares, axis=1), alone)


@pytest.mark.parametrize("num_micro_batches", [1, 2, 3, 5])
@pytest.mark.parametrize("batch_size", [30, 31, 64, 97])
def test_a_batch_is_divided_evenly_and_alike_for_any_number_of_workers(
    batch_size, num_micro_batches
):
    (alone,) = shares_of_batch(batch_size, world_size=1, num_micro_batches=num_micro_batches)
    np.testing.assert_array_equal(np.concatenate(alone), np.arange(batch_size))
    for world_size in range(1, batch_size // num_micro_batches + 1):
        shares = shares_of_batch(
            batch_size, world_size=world_size, num_micro_batches=num_micro_batches
        )
        for micro_batch, parts in zip(alone, zip(*shares, strict=True), strict=True):
            np.testing.assert_array_equal(np.sort(np.concatenate(parts)), micro_batch)
        sizes = np.array([[len(part) for part in share] for share in shares])
        assert sizes.min() >= 1
        assert np.ptp(sizes) <= 1
        assert np.ptp(sizes.sum(axis=1)) <= 1


def test_the_first_step_skips_exactly():
    whole = plan().worker_batches(2, rank=1, world_size=2)
    later = plan().worker_batches(2, rank=1, world_size=2, first_step=3)
    np.testing.assert_array_equal(later, whole[3:])
    # Three workers that go on in the middle of the epoch see what one would have seen.
    uneven = plan(num_micro_batches=2)
    resumed = [uneven.worker_batches(2, rank=r, world_size=3, first_step=3) for r in range(3)]
    alone = uneven.worker_batches(2, rank=0, world_size=1, first_step=3)
    np.testing.assert_array_equal(np.sort(np.concatenate(resumed, axis=1)), np.sort(alone))


def test_counts_leave_out_the_incomplete_batch():
    assert (plan().steps_per_epoch, plan().num_steps, plan().left_out_per_epoch) == (8, 24, 6)
    left_out = [
        set(range(70)) - set(plan().worker_batches(e, rank=0, world_size=1).ravel())
        for e in range(2)
    ]
    assert [len(left) for left in left_out] == [6, 6]
    assert left_out[0] != left_out[1]


def test_read_units_are_whole_batches_within_the_limits():
    batches = np.random.default_rng(0).permutation(80).reshape(20, 4)
    record_bytes = np.arange(80) * 10
    units = split_into_units(batches, record_bytes, limit_bytes=4000, limit_records=14)
    np.testing.assert_array_equal(np.concatenate(units), batches.ravel())
    assert all(len(unit) % 4 == 0 for unit in units)
    sizes = [record_bytes[unit].sum() for unit in units]
    assert max(sizes) <= 4000
    assert max(map(len, units)) == 12
    # As few as that allows: no unit could have taken the next one's first batch.
    for unit, size, following in zip(units, sizes, units[1:], strict=False):
        assert len(unit) == 12 or size + record_bytes[following[:4]].sum() > 4000


@pytest.mark.parametrize("limit_records", [5, 99])
@pytest.mark.parametrize("limit_bytes", [1, 100, 250, 1000])
def test_a_batch_over_a_limit_is_cut(limit_bytes, limit_records):
    batches = np.random.default_rng(1).permutation(60).reshape(5, 12)
    record_bytes = np.random.default_rng(2).integers(1, 200, size=60)
    limits = {"limit_bytes": limit_bytes, "limit_records": limit_records}
    units = split_into_units(batches, record_bytes, **limits)
    np.testing.assert_array_equal(np.concatenate(units), batches.ravel())
    for unit in units:
        assert len(unit) <= limit_records
        assert record_bytes[unit].sum() <= limit_bytes or len(unit) == 1
    # Every batch ends with a unit.
    assert set(np.arange(12, 61, 12)) <= set(np.cumsum([len(unit) for unit in units]))
    assert split_into_units(batches[:0], record_bytes, **limits) == []
