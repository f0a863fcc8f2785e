"""Archives of arrays, which anyone may have written."""

import io
import resource
import zipfile

import numpy as np
import pytest

from omnimat.modalities.storage import decode_npz, encode_npz, unpack_npz

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(4, dtype=np.int32)}


def packed(arrays, compression=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in arrays.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_arrays_come_back():
    found = decode_npz(encode_npz(ARRAYS))
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_texts_and_truth_values_are_read_where_they_may_be():
    data = encode_npz({"ids": np.array(["mp-1", "ä"]), "is_there": np.array([True, False])})
    found = decode_npz(data, "bU")
    assert found["ids"].tolist() == ["mp-1", "ä"]
    assert found["is_there"].tolist() == [True, False]
    with pytest.raises(ValueError, match="numeric"):
        decode_npz(data)


def test_objects_are_never_unpickled():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="numeric"):
        decode_npz(buffer.getvalue(), "biufU")


def test_a_small_archive_that_unpacks_to_gigabytes_is_refused_by_its_directory():
    bomb = packed({"a": bytes(400 * 2**20)})
    assert len(bomb) < 2**20
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="compressed"):
        decode_npz(bomb)
    with pytest.raises(ValueError, match="too large: it unpacks to 400 MiB"):
        unpack_npz(bomb, max_bytes=16 * 2**20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kib < 20 * 1024


@pytest.mark.parametrize("claimed", [8, 4000])
def test_an_archive_whose_directory_lies_is_refused(claimed):
    data = packed({"a": npy(np.zeros(1000))})
    size = len(npy(np.zeros(1000))).to_bytes(4, "little")
    assert data.count(size) == 2
    lie = data.replace(size, claimed.to_bytes(4, "little"))
    with pytest.raises(ValueError, match="damaged"):
        unpack_npz(lie, max_bytes=2**20)


def test_entries_that_share_their_bytes_are_refused():
    content = npy(np.zeros(1000))
    data = packed({"a": content}, zipfile.ZIP_STORED)
    start = data.index(b"PK\x01\x02")
    entry, end = data[start : data.index(b"PK\x05\x06")], data[data.index(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"a.npy", b"%c.npy" % (97 + i)) for i in range(9))
    counts = (9).to_bytes(2, "little") * 2 + len(entries).to_bytes(4, "little")
    with pytest.raises(ValueError, match="too large"):
        decode_npz(data[:start] + entries + end[:8] + counts + end[16:])


def test_damage_anywhere_is_found_or_changes_nothing():
    whole = encode_npz(ARRAYS)
    bits = np.random.default_rng(0).integers(8 * len(whole), size=1500)
    named = 0
    for bit in bits.tolist():
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        try:
            found = decode_npz(bytes(data))
        except ValueError:
            named += 1
            continue
        for name in ARRAYS.keys() & found.keys():
            np.testing.assert_array_equal(found[name], ARRAYS[name])
    assert named > 500
    for length in range(0, len(whole), 7):
        with pytest.raises(ValueError, match="damaged"):
            decode_npz(whole[:length])
