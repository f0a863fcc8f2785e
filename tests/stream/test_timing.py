"""Rows say what they cost, and a worker's stream adds it up."""

import time

import numpy as np
import pyarrow as pa
import pytest

from omnimat.modalities.layout import feature_schema
from omnimat.stream.timing import STAGES, StreamMeter, stamped
from omnimat.stream.unit import take

FEATURES = pa.table({"material_id": ["a", "b", "c", "d"]})


def test_rows_share_what_their_unit_cost():
    before_s = time.time()
    table = stamped(FEATURES, {"read": 0.5, "featurize": 2.0})
    assert table.drop_columns(["read_s", "featurize_s", "ready_at_s"]).equals(FEATURES)
    assert before_s <= table["ready_at_s"][3].as_py() <= time.time()
    meter = StreamMeter()
    meter.taken(table.slice(0, 3), time.time())  # cut anew, as batches are
    meter.taken(table.slice(3), time.time())
    reading = meter.read(time.perf_counter())
    assert (reading["read_rows_per_s"], reading["featurize_rows_per_s"]) == (8, 2)
    assert reading.keys() == {"read_rows_per_s", "featurize_rows_per_s", "queued_rows"}
    # The next reading is of the next rows; a unit from a store is not featurized.
    meter.taken(stamped(FEATURES, {"read": 1.0}), time.time())
    assert meter.read(time.perf_counter()).keys() == {"read_rows_per_s", "queued_rows"}
    assert len(stamped(FEATURES.slice(4), {"read": 1.0})) == 0


def ready_at(num_rows: int, second: float) -> pa.Table:
    zeros = np.zeros(num_rows)
    return pa.table({"read_s": zeros, "featurize_s": zeros, "ready_at_s": zeros + second})


@pytest.mark.parametrize("rows_per_s", [60.0, 90.0, 99.0])
def test_queued_rows_are_those_that_were_there(rows_per_s):
    """A queue simulated event by event: units of 8 rows at random; 4 taken at a time, 100 a s."""
    rng = np.random.default_rng(0)
    ready_s = np.cumsum(rng.exponential(8 / rows_per_s, size=5000)).repeat(2)
    taken_s = np.empty_like(ready_s)
    last_s = 0.0
    for i, second in enumerate(ready_s):
        taken_s[i] = last_s = max(second, last_s + 0.04)
    meter, readings, elapsed_s, last_s = StreamMeter(since_s=0.0), [], [], 0.0
    for i, (second, now_s) in enumerate(zip(ready_s, taken_s, strict=True), start=1):
        meter.taken(ready_at(4, second), now_s)
        if i % 50 == 0:
            elapsed_s.append(now_s - last_s)
            readings.append(meter.read(now_s)["queued_rows"])
            last_s = now_s
    found = np.average(readings, weights=elapsed_s)
    times_s = np.linspace(0, taken_s[-1], 100_000)
    there = 4 * (np.searchsorted(ready_s, times_s) - np.searchsorted(taken_s, times_s))
    # Rates vary from reading to reading (measured: within 0.02 %).
    assert found == pytest.approx(there.mean(), rel=0.002)


def test_rows_made_before_the_first_step_are_not_counted_twice():
    # All 40 rows ready at 0 s; the first step is slow, the others are quick.
    meter = StreamMeter(since_s=0.0)
    readings = []
    for now_s in (2.0, 2.1, 2.2, 2.3, 2.4):
        meter.taken(ready_at(8, 0.0), now_s)
        readings.append(meter.read(now_s)["queued_rows"])
    assert max(readings) <= 40


def test_a_clock_that_is_behind_breaks_nothing():
    meter = StreamMeter(since_s=3.0)
    for now_s in (4.0, 5.0):
        meter.taken(ready_at(8, now_s + 0.5), now_s)
        assert meter.read(now_s)["queued_rows"] == -4.0


def test_a_stream_says_what_its_stages_do(new_stream, featurizers, records):
    stream = new_stream(num_micro_batches=2)
    started_s = time.perf_counter()
    num_rows = sum(len(batch.material_ids) for batch in stream.batches())
    elapsed_s = time.perf_counter() - started_s
    reading = stream.meter.read(time.perf_counter())
    rates = {f"{stage}_rows_per_s" for stage in (*STAGES, "collate")}
    assert reading.keys() == rates | {"queued_rows"}
    # In one process the stages follow each other, and are most of what is done (measured: 0.91).
    busy_s = sum(num_rows / reading[rate] for rate in rates)
    assert 0.5 * elapsed_s < busy_s < elapsed_s
    assert 0 <= reading["queued_rows"] < num_rows
    unit = take(records, np.arange(4))
    assert stream.source.features(unit).schema == feature_schema(featurizers)
