import gc
import hashlib
import json
import tarfile
import zlib

import numpy as np
import pandas as pd
import pytest
import webdataset
from upath import UPath

from omnimat.shards import codec
from omnimat.shards.codec import decode, encode
from omnimat.shards.reader import read_records
from omnimat.shards.writer import write_shard

LONG_ID = "x" * 128


@pytest.fixture
def records(new_record):
    ids = ["mp-1", LONG_ID, "mp-3", "mp-4"]
    return [new_record(id_, seed, full=seed != 2) for seed, id_ in enumerate(ids)]


@pytest.fixture(params=["local", "memory"])
def path(request, tmp_path):
    if request.param == "local":
        return UPath(tmp_path) / "new" / "shard-00000.tar"
    return UPath("memory://omnimat-test/shard-00000.tar")


def test_round_trip(path, records):
    written = write_shard(path, records)
    raw = read_records(path.parent, pd.DataFrame(written.rows).assign(shard=0))
    assert [r.material_id for r in raw] == [r.material_id for r in records]
    assert [r.members for r in raw] == [encode(r) for r in records]
    assert all(r.quarantine_reason is None for r in raw)
    assert decode(LONG_ID, raw[1].members).parts["text"] == records[1].parts["text"]
    assert [p.name for p in path.parent.iterdir()] == ["shard-00000.tar"]
    path.unlink()


def test_entry_and_rows_tell_what_is_there(tmp_path, records):
    path = UPath(tmp_path) / "s.tar"
    written = write_shard(path, records)
    data = path.read_bytes()
    assert written.entry.size_bytes == len(data)
    assert written.entry.sha256 == hashlib.sha256(data).hexdigest()
    assert written.entry.modality_counts == {
        "structure": 4,
        "dos": 3,
        "charge_density": 3,
        "text": 3,
        "text_embedding": 3,
        "xrd": 3,
        "composition": 3,
    }
    assert [row["has_dos"] for row in written.rows] == [True, True, False, True]
    assert [row["row"] for row in written.rows] == [0, 1, 2, 3]
    assert written.rows[0]["num_atoms"] == 2
    for row in written.rows:
        content = data[row["offset_bytes"] :][: row["size_bytes"]]
        assert row["crc32"] == zlib.crc32(content)


def test_bytes_depend_on_the_records_alone(tmp_path, records):
    one, other = UPath(tmp_path) / "1" / "s.tar", UPath(tmp_path) / "2" / "s.tar"
    assert write_shard(one, records) == write_shard(other, records)
    assert one.read_bytes() == other.read_bytes()


def test_a_record_that_cannot_be_stored_is_rejected_and_the_others_written(tmp_path, records):
    records[1] = records[1].with_part("text_embedding", np.array([np.nan]))
    written = write_shard(UPath(tmp_path) / "s.tar", records)
    assert [row["material_id"] for row in written.rows] == ["mp-1", "mp-3", "mp-4"]
    assert written.rejected[0][0] == LONG_ID
    assert "not finite" in written.rejected[0][1]


# webdataset leaves the shard open for the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_our_shard(tmp_path, records):
    path = tmp_path / "s.tar"
    write_shard(UPath(path), records)
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False))
    gc.collect()
    assert [s["__key__"] for s in samples] == [r.material_id for r in records]
    for sample, record in zip(samples, records, strict=True):
        assert {k: v for k, v in sample.items() if not k.startswith("__")} == encode(record)


def test_a_record_too_large_to_be_read_back_is_rejected(tmp_path, records, monkeypatch):
    monkeypatch.setattr(codec, "MAX_CONTENT_BYTES", 1000)
    written = write_shard(UPath(tmp_path) / "s.tar", records)
    assert [row["material_id"] for row in written.rows] == ["mp-3"]  # has a structure alone
    assert "bytes, over 1000" in written.rejected[0][1]


def test_structure_json_is_plain_json(tmp_path, records):
    path = tmp_path / "s.tar"
    write_shard(UPath(path), records)
    with tarfile.open(path) as archive:
        first = archive.getmembers()[0]
        assert (first.mtime, first.uid, first.gid, first.mode) == (0, 0, 0, 0o644)
        value = json.load(archive.extractfile(first))
    assert sorted(value) == ["atomic_numbers", "frac_coords", "lattice_angstrom"]
