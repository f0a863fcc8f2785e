"""Whole files on local folders and object stores' stand-ins; S3 itself is in tests/stream."""

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from omnimat.base import retry
from omnimat.base.files import parquet_frame, read_file, remove_temporaries, write_atomically
from omnimat.testing.faulty_storage import Fault, faulty, happened


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    return UPath(tmp_path) if request.param == "local" else UPath("memory://omnimat-test-files")


def test_written_whole_and_replaced(folder):
    path = folder / "new" / "file"
    for data in (b"one", b"two"):
        write_atomically(path, data)
        assert read_file(path) == data
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    with pytest.raises(FileNotFoundError):
        read_file(folder / "none")


def test_a_writer_that_dies_leaves_no_half_file(tmp_path, monkeypatch):
    path = UPath(tmp_path) / "file"
    write_atomically(path, b"old")

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(path.fs), "mv", dies)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(UPath(tmp_path).iterdir())) == 2
    remove_temporaries(UPath(tmp_path))
    assert [p.name for p in UPath(tmp_path).iterdir()] == ["file"]


def test_a_read_that_fails_at_times_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"x" * 100)
    plan = tmp_path / "plan.json"
    faults = [Fault("file", 3, "reset", 2), Fault("file", 99, "payload", 2)]
    assert read_file(faulty(UPath(tmp_path) / "data", plan, faults) / "file") == b"x" * 100
    assert happened(plan) == 4


@pytest.mark.parametrize(
    "column",
    [pa.nulls(1_000_000), pa.array(["x" * 100_000] * 100), pa.repeat(1.5, 1_000_000)],
    ids=["nulls", "text", "numbers"],
)
def test_a_small_file_with_a_huge_table_is_not_opened(column):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": column}), buffer, compression="zstd", use_dictionary=False)
    data = buffer.getvalue()
    assert len(data) < 100_000
    with pytest.raises(pa.ArrowInvalid, match=r"its table has [\d,]+ bytes; 4,000,000 are"):
        parquet_frame(data, 4_000_000)
    assert parquet_frame(data).equals(pd.DataFrame({"a": column.to_pandas()}))
