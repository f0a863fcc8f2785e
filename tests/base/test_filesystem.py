import subprocess
import sys

import pytest

from omnimat.base.errors import UserError
from omnimat.base.filesystem import location

WITHOUT_S3FS = """
import sys
sys.modules["s3fs"] = None  # as if it were not installed
from upath import UPath
from omnimat.base.filesystem import location
from omnimat.shards.manifest import Manifest
for action in (lambda: location("s3://bucket/x", "storage_path"),
               lambda: Manifest.load(UPath("s3://bucket/x"))):
    try:
        action()
    except ValueError as error:
        print(type(error).__name__, error)
"""


def test_locations_that_are_there():
    assert str(location("/tmp/x", "k")) == "/tmp/x"
    assert location("memory://a/b", "k").name == "b"


def test_an_unknown_filesystem_is_refused():
    with pytest.raises(UserError, match=r"^storage_path: foo://b cannot be reached: Unsupported"):
        location("foo://b", "storage_path")


def test_a_filesystem_that_is_not_installed_is_one_sentence():
    program = [sys.executable, "-c", WITHOUT_S3FS]
    result = subprocess.run(program, capture_output=True, text=True, check=True)
    by_key, by_file = result.stdout.splitlines()
    assert by_key.startswith("UserError storage_path: s3://bucket/x")
    assert by_file.startswith("UserError s3://bucket/x/manifest.json")
    assert "omnimat[s3]" in by_key
    assert all("s3fs" in line for line in (by_key, by_file))
