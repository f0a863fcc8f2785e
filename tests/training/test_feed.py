"""The feed gives what the stream delivers, one step ahead, and counts only what was taken."""

import threading

import numpy as np
import pytest
import torch

from omnimat.stream.worker import in_process
from omnimat.training.feed import feed, micro_batch
from omnimat.training.plan import make_plan


@pytest.fixture
def new_stream(workspace, new_settings):
    """Make the stream of one worker, by default with two uneven micro-batches a step."""

    def new_stream(pipeline=in_process):
        settings = new_settings(global_batch_size=7, num_micro_batches=2)
        return make_plan("run", settings, workspace).stream(0, 1, pipeline)

    return new_stream


NEEDS_CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("first_step", [0, 6])
def test_the_feed_equals_each_batch_converted_in_turn(new_stream, first_step, device):
    device = torch.device(device)
    stream, twin = new_stream(), new_stream()
    fed = [one for step in feed(stream, device, first_step) for one in step]
    expected = [micro_batch(batch, device) for batch in twin.batches(first_step)]
    assert [num_rows for _, num_rows in fed] == [num_rows for _, num_rows in expected]
    assert {num_rows for _, num_rows in fed} == {3, 4}
    for (tensors, _), (others, _) in zip(fed, expected, strict=True):
        assert tensors.keys() == others.keys()
        for name, one in tensors.items():
            assert one.rows.device.type == device.type
            assert one.arrays.keys() == others[name].arrays.keys()
            pairs = zip(one.tensors(), others[name].tensors(), strict=True)
            assert all(torch.equal(*pair) for pair in pairs)
    assert stream.audit == twin.audit


def test_another_thread_collates_while_the_caller_works(new_stream, monkeypatch):
    collating, second = set(), threading.Event()

    def told(source, units, num_records):
        for number, table in enumerate(in_process(source, units, num_records)):
            collating.add(threading.get_ident())
            if number:
                second.set()
            yield table

    steps = feed(new_stream(told), torch.device("cpu"))
    next(steps)
    assert second.wait(timeout=60)  # nobody has asked for the second step
    assert threading.get_ident() not in collating
    steps.close()


def test_what_only_lies_ready_is_not_counted(new_stream):
    ready = threading.Event()

    def told(source, units, num_records):
        for number, table in enumerate(in_process(source, units, num_records)):
            reasons = [f"odd {number}"] * len(table)
            place = table.schema.get_field_index("quarantine_reason")
            yield table.set_column(place, "quarantine_reason", [reasons])
            ready.set()

    stream = new_stream(told)
    steps = feed(stream, torch.device("cpu"))
    next(steps)
    assert ready.wait(timeout=60)
    assert stream.audit.delivered == 7
    assert set(stream.audit.quarantined.values()) == {"odd 0"}
    assert np.isfinite(stream.meter.read(1.0)["collate_rows_per_s"])
    steps.close()


def test_an_error_of_the_stream_comes_where_its_step_is_due(new_stream):
    class Broken(Exception):
        pass

    def breaking(source, units, num_records):
        tables = in_process(source, units, num_records)
        yield next(tables)
        yield next(tables)
        raise Broken

    steps = feed(new_stream(breaking), torch.device("cpu"))
    next(steps)
    next(steps)
    with pytest.raises(Broken):
        next(steps)
