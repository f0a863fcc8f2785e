"""Shards damaged in every way: what was not touched arrives bit for bit, the rest has a reason."""

import io
import json
import re
import tarfile
import tracemalloc
import zlib

import numpy as np
import pandas as pd
import pytest
from upath import UPath

from omnimat.modalities.dos.features import DosCurve
from omnimat.shards.codec import encode
from omnimat.shards.manifest import shard_name
from omnimat.shards.reader import read_records
from omnimat.shards.writer import write_shard
from omnimat.stream.order import BatchPlan
from omnimat.stream.source import Source
from omnimat.stream.worker import WorkerStream
from omnimat.testing.materials import example_records

NUM_SHARDS_PER_DAMAGE = 16
FEATURIZERS = {"dos": DosCurve()}


@pytest.fixture(scope="module")
def records():
    return example_records(8)


@pytest.fixture(scope="module")
def original(records, tmp_path_factory):
    """A shard's bytes, and its index."""
    path = UPath(tmp_path_factory.mktemp("original")) / shard_name(0)
    written = write_shard(path, records)
    return path.read_bytes(), pd.DataFrame(written.rows).assign(shard=0)


@pytest.fixture
def deliver(tmp_path, monkeypatch):
    """Stream a shard of these bytes; give the undecoded records, and reasons by id."""
    monkeypatch.setattr("omnimat.base.retry.FIRST_WAIT_S", 0.0)

    def deliver(data, index):
        (tmp_path / shard_name(0)).write_bytes(data)
        raw = {found.material_id: found for found in read_records(UPath(tmp_path), index)}
        stream = WorkerStream(
            source=Source(UPath(tmp_path), None, FEATURIZERS),
            records=index,
            plan=BatchPlan(index["shard"].to_numpy(), 2, 1, seed=0, window_shards=1),
            read_unit_bytes=int(index["size_bytes"].max()) * 4,
            rank=0,
            world_size=1,
        )
        ids = [i for batch in stream.batches() for i in batch.material_ids.to_pylist()]
        assert sorted(ids) == sorted(index["material_id"])
        return raw, stream.audit.quarantined

    return deliver


# --- damage at random ---


def flip_one(data, rng):
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))


def flip_many(data, rng):
    for _ in range(50):
        flip_one(data, rng)


def truncate(data, rng):
    del data[rng.integers(len(data)) :]


def lose_bytes(data, rng):
    start = rng.integers(len(data))
    del data[start : start + rng.integers(1, 2000)]


def insert_bytes(data, rng):
    start = rng.integers(len(data))
    data[start:start] = rng.bytes(rng.integers(1, 2000))


def overwrite(data, rng):
    start, size = rng.integers(len(data) - 5000), rng.integers(1, 5000)
    data[start : start + size] = rng.bytes(size)


def zero(data, rng):
    start, size = rng.integers(len(data) - 5000), rng.integers(1, 5000)
    data[start : start + size] = bytes(size)


def swap_blocks(data, rng):
    one, two = (slice(512 * i, 512 * (i + 1)) for i in rng.integers(len(data) // 512, size=2))
    data[one], data[two] = data[two], data[one]


DAMAGES = [
    flip_one,
    flip_many,
    truncate,
    lose_bytes,
    insert_bytes,
    overwrite,
    zero,
    swap_blocks,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_random_damage(damage, original, records, deliver, say):
    whole, index = original
    rng = np.random.default_rng(len(damage.__name__))
    num_touched = num_unchecked = 0
    for _ in range(NUM_SHARDS_PER_DAMAGE):
        data = bytearray(whole)
        damage(data, rng)
        touched = {
            row.material_id
            for row in index.itertuples()
            if data[row.offset_bytes :][: row.size_bytes]
            != whole[row.offset_bytes :][: row.size_bytes]
        }
        raw, quarantined = deliver(bytes(data), index)
        # With the index's checksums nothing that was touched gets through.
        assert set(quarantined) == touched
        assert {i for i, found in raw.items() if found.quarantine_reason} == touched
        assert all(quarantined.values())
        for record in records:
            expected = {} if record.material_id in touched else encode(record)
            assert raw[record.material_id].members == expected
        num_touched += len(touched)
        # Without them (a data set of before) it may, but costs no other record and no run.
        _, unchecked = deliver(bytes(data), index.assign(crc32=np.nan))
        assert set(unchecked) <= touched
        num_unchecked += len(unchecked)
    say(
        f"{NUM_SHARDS_PER_DAMAGE} shards, {damage.__name__}: {num_touched} records touched, all "
        f"quarantined ({num_unchecked} without checksums), 0 others lost"
    )


def test_a_damaged_shard_takes_no_memory(original, deliver):
    """A header that promises 8 GB must not be believed before it is checked."""
    whole, index = original
    data = bytearray(whole)
    for row in index.itertuples():
        header = bytearray(data[row.offset_bytes :][:512])
        header[124:135] = b"7" * 11
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        data[row.offset_bytes : row.offset_bytes + 512] = header
    tracemalloc.start()
    _, quarantined = deliver(bytes(data), index.assign(crc32=np.nan))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(quarantined) == len(index)
    assert all("8589934591 bytes, over" in reason for reason in quarantined.values())
    # The request, its slices, the members, an Arrow table and a batch: each holds a shard once.
    assert peak_bytes < 8 * len(whole)


# --- what a careless or hostile writer may leave, with an index and checksums of its own ---


def npy(array, **kwargs):
    buffer = io.BytesIO()
    np.save(buffer, array, **kwargs)
    return buffer.getvalue()


def structure(members, **changes):
    return json.dumps(json.loads(members["structure.json"]) | changes).encode()


def linked(kind):
    def link(members):
        return [("{id}.text.txt", b"", {"type": kind, "linkname": "/etc/passwd"})]

    return link


CRAFTED = {
    "absolute name": (lambda m: [("/etc/passwd", b"x", {})], "points outside"),
    "traversing name": (lambda m: [("../../x.text.txt", b"x", {})], "points outside"),
    "foreign member": (lambda m: [("other.text.txt", b"x", {})], "does not belong to"),
    "garbage extension": (lambda m: [("{id}.exe", b"x", {})], "unknown extension"),
    "pickle": (lambda m: [("{id}.model.pkl", b"x", {})], "unknown extension"),
    "symbolic link": (linked(tarfile.SYMTYPE), "not a regular file"),
    "hard link": (linked(tarfile.LNKTYPE), "not a regular file"),
    "device": (linked(tarfile.CHRTYPE), "not a regular file"),
    "directory": (linked(tarfile.DIRTYPE), "not a regular file"),
    "duplicate": (lambda m: [("{id}.text.txt", b"again", {})], "occurs twice"),
    "wrong type": (lambda m: {"charge_density.npy": npy(np.zeros((2, 2, 2), bool))}, "numeric"),
    "complex": (lambda m: {"charge_density.npy": npy(np.zeros((2, 2, 2), complex))}, "numeric"),
    "wrong shape": (lambda m: {"charge_density.npy": npy(np.zeros((2, 2)))}, "expected 3"),
    "pickled array": (
        lambda m: {"charge_density.npy": npy(np.array([[[{}]]], object), allow_pickle=True)},
        "numeric",
    ),
    "promised shape": (
        lambda m: {"charge_density.npy": npy(np.zeros((2, 2, 2))).replace(b"2, 2, 2", b"2, 2, 9")},
        "does not fit",
    ),
    "not finite": (lambda m: {"charge_density.npy": npy(np.full((2, 2, 2), np.nan))}, "finite"),
    "zero length": (lambda m: {"charge_density.npy": b""}, "not an npy file"),
    "zero-length structure": (lambda m: {"structure.json": b""}, "structure.json: Expecting value"),
    "not JSON": (lambda m: {"structure.json": b"{lattice: 1}"}, "structure.json: Expecting prop"),
    "NaN lattice": (
        lambda m: {
            "structure.json": structure(m, lattice_angstrom=np.full((3, 3), np.nan).tolist())
        },
        "not finite",
    ),
    "flat lattice": (
        lambda m: {"structure.json": structure(m, lattice_angstrom=np.ones((3, 3)).tolist())},
        "volume",
    ),
    "element 0": (
        lambda m: {"structure.json": structure(m, atomic_numbers=[0])},
        "lengths|outside",
    ),
    "huge number": (lambda m: {"structure.json": structure(m, atomic_numbers=[10**30])}, "large"),
    "text instead": (lambda m: {"structure.json": structure(m, lattice_angstrom="x")}, "convert"),
    "deep JSON": (lambda m: {"properties.json": b'{"a":' * 10**5}, "recursion"),
    "list of properties": (lambda m: {"properties.json": b"[]"}, "expected a JSON object"),
    "not UTF-8": (lambda m: {"text.txt": b"\xff\xfe"}, "utf-8"),
    "zip of nothing": (lambda m: {"dos.npz": b"PK\x05\x06" + bytes(18)}, "energies_ev"),
}


def craft(record, change):
    """Members of a record: some replaced (a dict by extension), or more behind them (a list)."""
    members = encode(record)
    changes = change(members)
    replaced = members | changes if isinstance(changes, dict) else members
    every = [(f"{{id}}.{x}", data, {}) for x, data in replaced.items() if data is not None]
    every += changes if isinstance(changes, list) else []
    for name, data, fields in every:
        info = tarfile.TarInfo(name.format(id=record.material_id))
        info.size = len(data)
        for key, value in fields.items():
            setattr(info, key, value)
        yield info, data


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_members(name, records, deliver):
    """Four shards of each kind, another record the victim each time."""
    change, reason = CRAFTED[name]
    for victim in range(0, len(records), 2):
        buffer, rows = io.BytesIO(), []
        with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.GNU_FORMAT) as archive:
            for i, record in enumerate(records):
                offset = archive.offset
                for info, data in craft(record, change if i == victim else lambda _: {}):
                    archive.addfile(info, io.BytesIO(data))
                content = buffer.getvalue()[offset : archive.offset]
                rows.append([record.material_id, 0, i, offset, len(content), zlib.crc32(content)])
        columns = ["material_id", "shard", "row", "offset_bytes", "size_bytes", "crc32"]
        raw, quarantined = deliver(buffer.getvalue(), pd.DataFrame(rows, columns=columns))
        assert list(quarantined) == [records[victim].material_id]
        assert re.search(reason, quarantined[records[victim].material_id])
        for i, record in enumerate(records):
            assert i == victim or raw[record.material_id].members == encode(record)
