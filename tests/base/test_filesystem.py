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
    assert result.stdout.splitlines() == [
        "UserError storage_path: s3://bucket/x cannot be reached: Install s3fs to access S3; "
        "pip install 'omnimat[s3]' or 'omnimat[gcs]'",
        "UserError s3://bucket/x/manifest.json: ImportError: Install s3fs to access S3",
    ]
