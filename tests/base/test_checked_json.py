import json

import pytest
from upath import UPath

from omnimat.base.checked_json import CHECKSUM, parsed, read_checked_json, write_checked_json
from omnimat.base.errors import UserError

CONTENT = {"b": [1, 2.5, None, "ä"], "a": {"10": True, "9": 1e-300}, "n": 3.0}


@pytest.fixture
def path(tmp_path) -> UPath:
    path = UPath(tmp_path) / "file.json"
    write_checked_json(path, CONTENT)
    return path


def test_it_is_read_as_it_was_written(path):
    assert read_checked_json(path, "") == CONTENT
    assert json.loads(path.read_text()).keys() == {*CONTENT, CHECKSUM}
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert read_checked_json(path, "") == CONTENT  # laid out anew, it says the same


def test_keys_that_are_numbers_are_read_as_text(path):
    write_checked_json(path, {"counts": {9: 1, 10: 2}})
    assert read_checked_json(path, "") == {"counts": {"9": 1, "10": 2}}


def test_every_flipped_bit_is_named_or_changes_nothing(path):
    whole = path.read_bytes()
    messages = []
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        try:
            content = parsed(bytes(data), path, "write it again")
        except UserError as error:
            messages.append(str(error))
            continue
        # White space, or the name of the checksum: then there is one key more, which is refused
        # wherever the keys are known.
        assert {key: content[key] for key in CONTENT} == CONTENT
    assert len(messages) > 6 * len(whole)
    assert all(one.startswith(str(path)) and one.endswith(": write it again") for one in messages)


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000], ids=len)
def test_what_is_no_object_is_damaged(data, path):
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged.*: write it again"):
        read_checked_json(path, "write it again")


def test_a_file_of_an_older_version_has_no_checksum(path):
    path.write_text(json.dumps(CONTENT))
    assert read_checked_json(path, "") == CONTENT
    with pytest.raises(FileNotFoundError):
        read_checked_json(path.with_name("none.json"), "")
