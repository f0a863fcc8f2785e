import io
import tarfile

import pandas as pd
import pytest
from upath import UPath

from omnimat.shards import reader
from omnimat.shards.codec import encode
from omnimat.shards.reader import parse_members, read_records
from omnimat.shards.writer import write_shard

SHARD = "shard-00000.tar"


@pytest.fixture
def records(new_record):
    return [new_record(f"mp-{i}", i, full=i != 2) for i in range(4)]


@pytest.fixture
def folder(tmp_path):
    return UPath(tmp_path)


@pytest.fixture
def index(folder, records):
    """The index of the four records, written to the folder's only shard."""
    return pd.DataFrame(write_shard(folder / SHARD, records).rows).assign(shard=0)


def is_good(raw):
    return [r.quarantine_reason is None for r in raw]


def test_any_order_and_subset_can_be_read(folder, records, index):
    for chosen in ([3, 0], [1, 1, 2], []):
        raw = read_records(folder, index.iloc[chosen])
        assert [r.material_id for r in raw] == [f"mp-{i}" for i in chosen]
        assert [r.members for r in raw] == [encode(records[i]) for i in chosen]


def test_a_changed_bit_is_noticed_where_the_index_has_a_checksum(folder, records, index):
    data = bytearray((folder / SHARD).read_bytes())
    position = data.index(records[1].parts["charge_density"].tobytes())
    data[position] ^= 1  # the last bit of a number: it decodes as well as before
    (folder / SHARD).write_bytes(bytes(data))
    raw = read_records(folder, index)
    assert is_good(raw) == [True, False, True, True]
    assert raw[1].quarantine_reason == (
        "shard-00000.tar: the record's bytes were changed after it was written (crc32)"
    )
    # What an index of before checksums gives: unchecked.
    raw = read_records(folder, index.assign(crc32=float("nan")))
    assert is_good(raw) == [True] * 4
    assert raw[1].members != encode(records[1])


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
        (negative_size(), "not a tar header"),
        (tar(member("a.text.txt", b""))[:512].replace(b"0" * 11, b"-0000000001"), "damaged"),
        (b"\0" * 100, "truncated"),
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


def test_one_bad_record_costs_no_other(folder, index):
    data = bytearray((folder / SHARD).read_bytes())
    offset = index["offset_bytes"][1]
    data[offset : offset + 20] = b"\xff" * 20
    (folder / SHARD).write_bytes(bytes(data))
    for rows, why in ((index, "changed after"), (index.assign(crc32=float("nan")), "damaged tar")):
        raw = read_records(folder, rows)
        assert is_good(raw) == [True, False, True, True]
        assert raw[1].members == {}
        assert f"{SHARD}: " in raw[1].quarantine_reason
        assert why in raw[1].quarantine_reason


def test_a_truncated_shard_delivers_what_is_there(folder, index):
    end = index["offset_bytes"][2] + 700
    (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:end])
    raw = read_records(folder, index)
    assert is_good(raw) == [True, True, False, False]
    assert raw[2].quarantine_reason == f"{SHARD}: the shard ends inside the record, at byte {end}"
    assert "ends inside the record" in raw[3].quarantine_reason


def test_senseless_ranges_are_quarantined(folder, index):
    rows = index.assign(offset_bytes=[-1, 0, 0, 0], size_bytes=[512, 0, 2**40, -512])
    raw = read_records(folder, rows)
    assert all("no sensible byte range" in r.quarantine_reason for r in raw)


def test_a_missing_shard_quarantines_its_records_at_once(folder, index, monkeypatch):
    monkeypatch.setattr("omnimat.base.retry.FIRST_WAIT_S", 1e6)
    rows = pd.concat([index, index.assign(shard=7)], ignore_index=True)
    raw = read_records(folder, rows)
    assert is_good(raw) == [True] * 4 + [False] * 4
    assert raw[4].quarantine_reason == "shard-00007.tar: it does not exist"
