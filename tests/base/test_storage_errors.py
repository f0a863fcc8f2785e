"""Errors of a file system that nobody expected: a file, what is wrong, and a remedy."""

import errno
import os

import pytest
from ray.exceptions import RayTaskError

from omnimat.base.errors import RunError, UserError
from omnimat.base.storage_errors import told_of


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, RunError),
        (errno.EROFS, UserError),
        (errno.EACCES, UserError),
        (errno.EIO, RunError),
    ],
)
def test_the_file_and_the_remedy_are_named(number, kind):
    error = OSError(number, os.strerror(number), "/data/x.json")
    told = told_of(error)
    assert isinstance(told, kind)
    assert str(told).startswith(f"/data/x.json: {os.strerror(number)}; ")
    task_error = RayTaskError("write", "Traceback ...", error).as_instanceof_cause()
    assert isinstance(task_error, OSError)
    assert str(told_of(task_error)) == str(told)


def test_what_has_no_remedy_keeps_its_traceback():
    assert told_of(ConnectionResetError(errno.ECONNRESET, "reset")) is None
    assert told_of(OSError("of no kind")) is None
