"""Errors of a file system that nobody expected: a file, what is wrong, and a remedy."""

import errno
import os

import pytest
from ray.exceptions import RayTaskError

from omnimat.cli.storage_errors import sentence_of


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_the_file_and_the_remedy_are_named(number):
    error = OSError(number, os.strerror(number), "/data/x.json")
    sentence = sentence_of(error)
    assert sentence.startswith(f"/data/x.json: {os.strerror(number)}; ")
    task_error = RayTaskError("write", "Traceback ...", error).as_instanceof_cause()
    assert isinstance(task_error, OSError)
    assert sentence_of(task_error) == sentence


def test_what_has_no_remedy_keeps_its_traceback():
    assert sentence_of(ConnectionResetError(errno.ECONNRESET, "reset")) is None
    assert sentence_of(OSError("of no kind")) is None
