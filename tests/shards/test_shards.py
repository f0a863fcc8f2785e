import dataclasses
import gc
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
import webdataset
from upath import UPath

from omnimat.shards import reader
from omnimat.shards.codec import decode, encode
from omnimat.shards.reader import parse_members, read_members
from omnimat.shards.writer import write_shard

LONG_ID = "x" * 128


@pytest.fixture
def records(new_record):
    ids = ["mp-1", LONG_ID, "mp-3", "mp-4"]
    return [new_record(id_, seed, full=seed != 2) for seed, id_ in enumerate(ids)]


def ranges(written):
    return [[row[key] for row in written.rows] for key in ("offset_bytes", "size_bytes")]


def read_all(path, written):
    ids = [row["material_id"] for row in written.rows]
    return list(read_members(path, *ranges(written), ids))


@pytest.fixture(params=["local", "memory"])
def path(request, tmp_path):
    if request.param == "local":
        return UPath(tmp_path) / "new" / "shard-00000.tar"
    return UPath("memory://omnimat-test/shard-00000.tar")


def test_round_trip(path, records):
    written = write_shard(path, records)
    raw = read_all(path, written)
    assert [r.material_id for r in raw] == [r.material_id for r in records]
    assert [r.members for r in raw] == [encode(r) for r in records]
    assert all(r.quarantine_reason is None for r in raw)
    assert decode(LONG_ID, raw[1].members).text == records[1].text
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
    }
    assert [row["has_dos"] for row in written.rows] == [True, True, False, True]
    assert [row["row"] for row in written.rows] == [0, 1, 2, 3]
    assert written.rows[0]["num_atoms"] == 2


def test_any_order_and_subset_can_be_read(tmp_path, records):
    path = UPath(tmp_path) / "s.tar"
    rows = write_shard(path, records).rows
    chosen = [rows[3], rows[0]]
    raw = read_members(
        path,
        np.array([row["offset_bytes"] for row in chosen]),
        np.array([row["size_bytes"] for row in chosen]),
        [row["material_id"] for row in chosen],
    )
    assert [r.members["structure.json"] for r in raw] == [
        encode(records[3])["structure.json"],
        encode(records[0])["structure.json"],
    ]


def test_bytes_depend_on_the_records_alone(tmp_path, records):
    one, other = UPath(tmp_path) / "1" / "s.tar", UPath(tmp_path) / "2" / "s.tar"
    assert write_shard(one, records) == write_shard(other, records)
    assert one.read_bytes() == other.read_bytes()


def test_a_record_that_cannot_be_stored_is_rejected_and_the_others_written(tmp_path, records):
    records[1] = dataclasses.replace(records[1], text_embedding=np.array([np.nan]))
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


# --- what a damaged or hostile shard does ---


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
        return buffer.getvalue()[: archive.offset]


def member(name: str, data: bytes = b"{}", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def bad_checksum() -> bytes:
    return b"X" + tar(member("a.structure.json"))[1:]


def negative_size() -> bytes:
    block = bytearray(tar(member("a.structure.json"))[:512])
    block[124:136] = b"\xff" * 12  # base-256 of -1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tar(member("/a.structure.json")), "points outside"),
        (tar(member("../a.structure.json")), "points outside"),
        (tar(member("x/../../a.structure.json")), "points outside"),
        (tar(member("b.structure.json")), "does not belong to a"),
        (tar(member("a.model.pkl")), "unknown extension"),
        (tar(member("a")), "unknown extension"),
        (tar(member("a.text.txt", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")), "regular"),
        (tar(member("a.text.txt", b"", type=tarfile.LNKTYPE, linkname="b.text.txt")), "regular"),
        (tar(member("a.text.txt", b"", type=tarfile.FIFOTYPE)), "regular"),
        (tar(member("a.text.txt", b"", type=tarfile.DIRTYPE)), "regular"),
        (tar(member("a.text.txt"), member("a.text.txt")), "occurs twice"),
        (bad_checksum(), "damaged tar header"),
        (tar(member("a.structure.json"))[:-512] + b"", "beyond its record"),
        (tar(member("a.structure.json")) + b"\0" * 512, "damaged tar header"),
        (negative_size(), "-1 bytes"),
        (b"", "no members"),
    ],
)
def test_refused_members(data, reason):
    with pytest.raises(ValueError, match=reason):
        parse_members(data, "a")


def test_an_oversized_member_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(reader, "MAX_MEMBER_BYTES", 10)
    with pytest.raises(ValueError, match="over 10"):
        parse_members(tar(member("a.text.txt", b"x" * 11)), "a")


def test_one_bad_record_costs_no_other(tmp_path, records):
    path = UPath(tmp_path) / "s.tar"
    written = write_shard(path, records)
    data = bytearray(path.read_bytes())
    offset = written.rows[1]["offset_bytes"]
    data[offset : offset + 20] = b"\xff" * 20
    path.write_bytes(bytes(data))
    raw = read_all(path, written)
    assert [r.quarantine_reason is None for r in raw] == [True, False, True, True]
    assert raw[1].members == {}
    assert "s.tar: damaged tar header" in raw[1].quarantine_reason


def test_a_truncated_shard_delivers_what_is_there(tmp_path, records):
    path = UPath(tmp_path) / "s.tar"
    written = write_shard(path, records)
    path.write_bytes(path.read_bytes()[: written.rows[3]["offset_bytes"] + 700])
    raw = read_all(path, written)
    assert [r.quarantine_reason is None for r in raw] == [True, True, True, False]
    assert "ends inside the record" in raw[3].quarantine_reason


def test_senseless_ranges_are_quarantined(tmp_path, records):
    path = UPath(tmp_path) / "s.tar"
    write_shard(path, records)
    raw = list(read_members(path, [-1, 0, 0], [512, 0, 2**40], ["a", "b", "c"]))
    assert all("byte range" in r.quarantine_reason for r in raw)


def test_a_missing_shard_quarantines_its_records_at_once(tmp_path):
    raw = list(read_members(UPath(tmp_path) / "none.tar", [0, 512], [512, 512], ["a", "b"]))
    assert [r.material_id for r in raw] == ["a", "b"]
    assert all("No such file" in r.quarantine_reason for r in raw)


class FlakyPath:
    """A file whose reads fail at the given calls, as remote storage does."""

    name = "flaky.tar"

    def __init__(self, data, failing_reads):
        self.data, self.failing_reads = data, set(failing_reads)
        self.num_reads = self.num_opens = 0

    def open(self, mode):
        assert mode == "rb"
        self.num_opens += 1
        outer = self

        class File(io.BytesIO):
            def read(self, size=-1):
                outer.num_reads += 1
                data = super().read(size)  # the position moves on, as in a broken stream
                if outer.num_reads in outer.failing_reads:
                    raise OSError("connection reset")
                return data

        return File(self.data)


@pytest.fixture
def no_wait(monkeypatch):
    monkeypatch.setattr(reader, "FIRST_WAIT_S", 0.0)


@pytest.mark.usefixtures("no_wait")
def test_transient_errors_lose_nothing(tmp_path, records):
    path = UPath(tmp_path) / "s.tar"
    written = write_shard(path, records)
    flaky = FlakyPath(path.read_bytes(), failing_reads=[1, 3, 4, 5, 6, 8])
    raw = read_all(flaky, written)
    assert [r.members for r in raw] == [encode(r) for r in records]
    assert flaky.num_opens == 7  # the first, and one after each error


@pytest.mark.usefixtures("no_wait")
def test_a_lasting_error_is_quarantined_and_not_waited_for_again(tmp_path, records):
    path = UPath(tmp_path) / "s.tar"
    written = write_shard(path, records)
    flaky = FlakyPath(path.read_bytes(), failing_reads=range(1, 7))
    raw = read_all(flaky, written)
    assert [r.quarantine_reason for r in raw] == ["flaky.tar: connection reset"] * 2 + [None] * 2
    assert flaky.num_reads == 5 + 1 + 2


def test_structure_json_is_plain_json(tmp_path, records):
    path = tmp_path / "s.tar"
    write_shard(UPath(path), records)
    with tarfile.open(path) as archive:
        first = archive.getmembers()[0]
        assert (first.mtime, first.uid, first.gid, first.mode) == (0, 0, 0, 0o644)
        value = json.load(archive.extractfile(first))
    assert sorted(value) == ["atomic_numbers", "frac_coords", "lattice_angstrom"]
