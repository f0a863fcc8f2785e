"""The stream without Ray: what is planned is what arrives."""

import os
import shutil
import subprocess
import sys
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest

from omnimat.modalities.views import RandomViews
from omnimat.stream.source import Source
from omnimat.stream.worker import Audit, StreamError, check_order, in_process


def delivered_ids(batches):
    return [batch.material_ids.to_pylist() for batch in batches]


@pytest.mark.parametrize("rank", [0, 1])
def test_two_workers_get_what_is_planned(rank, new_stream, planned_ids):
    stream = new_stream(rank, world_size=2)
    assert delivered_ids(stream.batches()) == planned_ids(stream)
    assert stream.audit.delivered == 4 * 4 * 2
    assert stream.audit.quarantined == {}


@pytest.mark.parametrize("num_views", [1, 2])
def test_three_workers_get_uneven_micro_batches(num_views, new_stream):
    """A batch of 8 in micro-batches of 4, of which each worker has one record or two."""
    together = [
        list(
            new_stream(
                rank,
                world_size=3,
                global_batch_size=8,
                num_micro_batches=2,
                views=RandomViews(num_views=num_views),
            ).batches(first_step=1)
        )
        for rank in range(3)
    ]
    alone = new_stream(global_batch_size=8, num_micro_batches=2).batches(first_step=1)
    micro_batches = zip(*map(delivered_ids, together), strict=True)
    for parts, whole in zip(micro_batches, delivered_ids(alone), strict=True):
        assert sorted(map(len, parts)) == [num_views, num_views, 2 * num_views]
        assert sorted(chain.from_iterable(parts)) == sorted(np.repeat(whole, num_views))


ORDER = """
import hashlib, sys
from upath import UPath
from omnimat.shards.manifest import Manifest
from omnimat.stream.order import BatchPlan
folder = UPath(sys.argv[1])
records = Manifest.load(folder).records(folder)
plan = BatchPlan(records["shard"].to_numpy(), 8, 2, seed=3, window_shards=2)
for epoch in (0, 1):
    batches = plan.worker_batches(epoch, rank=1, world_size=2)
    print(*records["material_id"].to_numpy()[batches].ravel())
"""


def test_the_order_follows_from_manifest_seed_and_epoch_alone(dataset, new_stream, tmp_path):
    """Elsewhere, in other processes, and whatever the size of a unit."""
    copied = tmp_path / "copied"
    shutil.copytree(str(dataset), copied, ignore=shutil.ignore_patterns("*.tar"))
    orders = []
    for folder, hash_seed in ((dataset, "1"), (copied, "2")):
        program = [sys.executable, "-X", "faulthandler", "-c", ORDER, str(folder)]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        result = subprocess.run(program, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        orders.append(result.stdout.split())
    assert orders[0] == orders[1]
    for limit_bytes in (1, 10**5, 10**9):
        stream = new_stream(1, world_size=2, read_unit_bytes=limit_bytes)
        ids = [id_ for unit in stream.units() for id_ in unit["material_id"]]
        assert ids == orders[0]


@pytest.mark.parametrize("first_step", [3, 8, 11, 16])
def test_a_resumed_stream_goes_on(first_step, new_stream):
    whole = delivered_ids(new_stream().batches())
    assert len(whole) == 16
    assert delivered_ids(new_stream().batches(first_step)) == whole[first_step:]


def test_pipelines_are_short_and_lose_nothing(new_stream, planned_ids, monkeypatch):
    monkeypatch.setattr("omnimat.stream.worker.UNITS_PER_PIPELINE", 3)
    lengths = []

    def counting(source, units, num_rows):
        lengths.append(len(units))
        return in_process(source, units, num_rows)

    stream = new_stream(pipeline=counting)
    assert delivered_ids(stream.batches()) == planned_ids(stream)
    assert len(lengths) > 2
    assert set(lengths[:-1]) == {3}  # here a unit is whole batches


def test_a_damaged_record_is_delivered_empty_with_its_reason(damaged, new_stream, planned_ids):
    folder, victim = damaged
    stream = new_stream(dataset=folder)
    batches = list(stream.batches())
    assert delivered_ids(batches) == planned_ids(stream)
    assert list(stream.audit.quarantined) == [victim]
    assert "changed after it was written" in stream.audit.quarantined[victim]
    for batch in batches:
        intact = [i for i, name in enumerate(batch.material_ids.to_pylist()) if name != victim]
        for arrays in batch.modalities.values():
            assert arrays.rows.tolist() == intact


def test_units_smaller_than_a_batch_make_the_same_batches(new_stream, assert_equal, records):
    limit = int(records["size_bytes"].max())  # a record or two a unit
    for rank in (0, 1):
        cut = new_stream(rank, 2, records_per_worker=8, read_unit_bytes=limit)
        assert max(unit["size_bytes"].sum() for unit in cut.units()) <= limit
        whole = new_stream(rank, 2, records_per_worker=8)
        assert_equal(cut.batches(3), whole.batches(3))


def dropping(source, units, num_rows):
    tables = list(in_process(source, units, num_rows))
    yield from [tables[0], tables[1].slice(1), *tables[2:]]


def swapping(source, units, num_rows):
    tables = list(in_process(source, units, num_rows))
    yield from [tables[1], tables[0], *tables[2:]]


@pytest.mark.parametrize("pipeline", [dropping, swapping])
def test_a_lost_or_reordered_row_ends_the_run(pipeline, new_stream):
    with pytest.raises(StreamError, match="lost, repeated or reordered"):
        list(new_stream(pipeline=pipeline).batches())


def test_a_lost_batch_ends_the_run(new_stream):
    def short(source, units, num_rows):
        yield from list(in_process(source, units, num_rows))[:-1]

    with pytest.raises(StreamError, match=r"missing: \['"):
        list(new_stream(pipeline=short).batches())


def test_a_batch_too_many_ends_the_run(new_stream):
    def long(source, units, num_rows):
        tables = list(in_process(source, units, num_rows))
        yield from [*tables, tables[0]]

    with pytest.raises(StreamError, match=r"missing: \[\], not planned here: \['"):
        list(new_stream(pipeline=long).batches())


def test_audit_names_what_is_missing():
    table = pa.table({"material_id": ["a", "c"], "quarantine_reason": [None, "odd"]})
    audit = Audit()
    check_order(table, ["a", "c"])
    audit.count(table)
    assert (audit.delivered, audit.quarantined) == (2, {"c": "odd"})
    with pytest.raises(StreamError, match=r"missing: \['b'\]"):
        check_order(table, ["a", "b"])


def test_featurizing_gives_the_arrays_of_each_record(dataset, records, new_stream, featurizers):
    batch = next(new_stream().batches())
    structure = batch.modalities["structure"]
    index = records.set_index("material_id").loc[batch.material_ids.to_pylist()]
    np.testing.assert_array_equal(structure.arrays["num_atoms"], index["num_atoms"])
    assert Source(dataset, None, featurizers) == new_stream().source
