import gzip

import pytest
from upath import UPath

from omnimat.base.child import Limits, within
from omnimat.formats.unpacked import whole


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_small_file_takes_little_memory_however_large_it_may_be(tmp_path, pack):
    path = UPath(tmp_path / "small")
    path.write_bytes(pack(b"small"))
    with within(Limits(max_memory_gb=0.2)):
        assert whole(path, 2 * 2**30) == b"small"


def test_a_file_that_is_too_large(tmp_path):
    path = UPath(tmp_path / "large")
    path.write_bytes(gzip.compress(bytes(3 * 2**20)))
    assert len(whole(path, 3 * 2**20)) == 3 * 2**20
    with pytest.raises(ValueError, match="too large"):
        whole(path, 3 * 2**20 - 1)
