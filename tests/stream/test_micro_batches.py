"""Batches cut by edges: within the limit, the same for any number of workers, resumable."""

from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pytest

from omnimat.stream.micro_batches import cut_batch
from omnimat.stream.order import BatchPlan


@pytest.mark.parametrize("seed", range(200))
def test_no_micro_batch_has_more_edges_and_none_is_lost(seed):
    generator = np.random.default_rng(seed)
    max_edges, world_size = generator.integers([1, 1], [31, 6])
    edges = generator.integers(0, 13, generator.integers(1, 41))
    batch = np.arange(len(edges))[::-1]
    cut = cut_batch(batch, edges, max_edges)
    assert sorted(cut.positions) == sorted(batch)
    parts = [cut.positions[a:b] for a, b in pairwise([0, *cut.ends])]
    assert all(len(part) for part in parts)
    for part in parts:
        assert edges[part].sum() <= max_edges or (edges[part] > 0).sum() == 1
    of_worker = [cut.of_worker(rank, world_size) for rank in range(world_size)]
    sizes = [cut.sizes_of_worker(rank, world_size) for rank in range(world_size)]
    for rank in range(world_size):
        assert len(sizes[rank]) == len(parts)
        assert sum(sizes[rank]) == len(of_worker[rank])
    for number, part in enumerate(parts):
        dealt = [
            of_worker[rank][sum(sizes[rank][:number]) :][: sizes[rank][number]]
            for rank in range(world_size)
        ]
        assert sorted(np.concatenate(dealt)) == sorted(part)
        of_each = [edges[own].sum() for own in dealt]
        assert max(of_each) - min(of_each) <= edges[part].max()


def plan(**changes) -> BatchPlan:
    told = {
        "record_shards": np.arange(50) // 10,
        "global_batch_size": 16,
        "num_epochs": 2,
        "seed": 3,
        "window_shards": 2,
        "record_edges": np.arange(50) ** 2 % 13 + 1,
        "max_edges": 18,
    }
    return BatchPlan(**(told | changes))


def micro_batches(plan: BatchPlan, epoch: int, world_size: int, first_step: int = 0):
    """Give for each step the records of each micro-batch, of all workers together."""
    steps = []
    places = [{"rank": rank, "world_size": world_size} for rank in range(world_size)]
    batches = [plan.worker_batches(epoch, **place, first_step=first_step) for place in places]
    sizes = [plan.worker_sizes(epoch, **place, first_step=first_step) for place in places]
    for step in range(len(batches[0])):
        cut = [
            np.split(b[step], np.cumsum(s[step])[:-1]) for b, s in zip(batches, sizes, strict=True)
        ]
        steps.append([sorted(np.concatenate(parts)) for parts in zip(*cut, strict=True)])
    return steps


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_cut_is_the_same_for_any_number_of_workers_and_on_resuming(epoch):
    whole = micro_batches(plan(), epoch, 1)
    assert len({len(step) for step in whole}) > 1  # steps differ in how many they have
    assert micro_batches(plan(), epoch, 3) == whole
    assert micro_batches(plan(), epoch, 2, first_step=1) == whole[1:]
    uncut = plan(max_edges=None)
    batches = [sorted(b) for b in uncut.worker_batches(epoch, rank=0, world_size=1)]
    assert [sorted(np.concatenate(step)) for step in whole] == batches


def test_a_stream_delivers_the_cut(new_stream, records):
    edges = records["num_atoms"].to_numpy()
    stream = new_stream(records_per_worker=8)
    cut = replace(stream, plan=replace(stream.plan, record_edges=edges, max_edges=10))
    edges_of = dict(zip(records["material_id"], edges, strict=True))
    shares = list(cut.shares(first_step=1))
    twins = list(stream.shares(first_step=1))
    assert len({len(share.batches) for share in shares}) > 1
    for share, twin in zip(shares, twins, strict=True):
        ids = [batch.material_ids.to_pylist() for batch in share.batches]
        assert all(sum(map(edges_of.__getitem__, own)) <= 10 or len(own) == 1 for own in ids)
        (whole,) = twin.batches
        assert sorted(chain.from_iterable(ids)) == sorted(whole.material_ids.to_pylist())
    again = list(cut.batches())[len(next(iter(cut.shares())).batches) :]
    assert [b.material_ids for b in again] == [b.material_ids for s in shares for b in s.batches]
