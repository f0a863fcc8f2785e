"""Reads that fail at any byte lose nothing and repeat nothing; what lasts has its reason."""

import numpy as np
import pytest
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.modalities.dos.features import DosCurve
from omnimat.shards.reader import read_records
from omnimat.testing.faulty_storage import TRANSIENT_KINDS, Fault, faulty, happened

POSITIONS_PER_KIND = 25


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch):
    monkeypatch.setattr("omnimat.base.retry.FIRST_WAIT_S", 0.0)


@pytest.fixture
def plan(tmp_path):
    return tmp_path / "plan.json"


def within(records, row, generator):
    """A byte of a record, anywhere: header, content or padding."""
    record = records.iloc[row]
    byte = record["offset_bytes"] + generator.integers(record["size_bytes"])
    return f"shard-{record['shard']:05d}.tar", int(byte)


@pytest.mark.parametrize("kind", TRANSIENT_KINDS)
def test_a_single_fault_at_any_byte_costs_nothing(kind, dataset, records, tmp_path, say):
    generator = np.random.default_rng(sum(map(ord, kind)))
    wanted = records.iloc[generator.permutation(len(records))]
    intact = read_records(dataset, wanted)
    assert all(raw.quarantine_reason is None for raw in intact)
    count = 0
    for i in range(POSITIONS_PER_KIND):
        plan = tmp_path / f"{i}.json"
        file, byte = within(records, generator.integers(len(records)), generator)
        broken = faulty(dataset, plan, [Fault(file, byte, kind)])
        assert read_records(broken, wanted) == intact
        count += happened(plan)
    assert count == POSITIONS_PER_KIND
    say(f"{count} single faults of kind {kind!r}: {count * len(records)} records intact, 0 lost")


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_with_a_fault_in_every_record(
    seed, dataset, records, new_stream, planned_ids, assert_equal, plan, say
):
    generator = np.random.default_rng(seed)
    kinds = generator.choice(TRANSIENT_KINDS[:-1], len(records)).tolist()
    faults = [
        Fault(*within(records, row, generator), kind, int(generator.integers(1, 4)))
        for row, kind in enumerate(kinds)
    ]
    featurizers = {"dos": DosCurve()}
    stream = new_stream(dataset=faulty(dataset, plan, faults), featurizers=featurizers)
    batches = list(stream.batches())
    assert [batch.material_ids.to_pylist() for batch in batches] == planned_ids(stream)
    assert_equal(batches, new_stream(featurizers=featurizers).batches())
    assert stream.audit.quarantined == {}
    count = happened(plan)
    # Each strikes as often as it should, but for those of records left out of both epochs.
    assert count >= sum(fault.times for fault in faults) * 0.8
    say(f"{count} faults in one stream: {stream.audit.delivered} rows in planned order, 0 lost")


def test_an_unreadable_byte_costs_its_record_alone(dataset, records, new_stream, planned_ids, plan):
    stream = new_stream(featurizers={"dos": DosCurve()})
    victim = planned_ids(stream)[2][1]
    row = records.index[records["material_id"] == victim][0]
    lasting = Fault(*within(records, row, np.random.default_rng(0)), "io", times=10**6)
    stream = new_stream(dataset=faulty(dataset, plan, [lasting]), featurizers={"dos": DosCurve()})
    assert [b.material_ids.to_pylist() for b in stream.batches()] == planned_ids(stream)
    assert list(stream.audit.quarantined) == [victim]
    assert (
        stream.audit.quarantined[victim] == f"{lasting.file}: OSError: [Errno 5] Input/output error"
    )


def test_what_is_forbidden_is_said_at_once(dataset, records, plan, monkeypatch):
    monkeypatch.setattr("omnimat.base.retry.FIRST_WAIT_S", 1e6)
    locked = Fault("shard-00002.tar", 0, "denied", times=10**6)
    found = read_records(faulty(dataset, plan, [locked]), records)
    reasons = [raw.quarantine_reason for raw in found]
    text = "shard-00002.tar: no permission, check the credentials (Forbidden)"
    assert reasons == [text if shard == 2 else None for shard in records["shard"]]
    assert happened(plan) == 1


def test_a_storage_that_is_down_ends_the_run_and_is_no_quarantine(
    dataset, records, new_stream, plan
):
    """Else a run would go on learning from nothing; Ray Train starts it again from a checkpoint."""
    shards = records["shard"].unique()
    down = [Fault(f"shard-{shard:05d}.tar", 0, "unopened", times=10**6) for shard in shards]
    stream = new_stream(dataset=faulty(dataset, plan, down), featurizers={"dos": DosCurve()})
    with pytest.raises(RunError, match=r"not one of 8 records: OSError: .* cannot be opened"):
        list(stream.batches())
    assert stream.audit.quarantined == {}


def test_a_lost_shard_is_quarantined_and_the_rest_delivered(
    dataset, records, new_stream, planned_ids, tmp_path
):
    folder = UPath(tmp_path) / "partial"
    folder.mkdir()
    for path in dataset.glob("shard-*.tar"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "shard-00001.tar").unlink()
    stream = new_stream(dataset=folder, featurizers={"dos": DosCurve()})
    assert [b.material_ids.to_pylist() for b in stream.batches()] == planned_ids(stream)
    lost = set(records["material_id"][records["shard"] == 1])
    seen = {i for batch in planned_ids(stream) for i in batch}
    assert set(stream.audit.quarantined) == lost & seen
    assert set(stream.audit.quarantined.values()) == {"shard-00001.tar: it does not exist"}
