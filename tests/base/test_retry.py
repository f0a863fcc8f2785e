"""Which errors pass by themselves: the kernel's, and those of remote filesystems' libraries."""

import asyncio
import errno
import http.client
import socket

import aiohttp
import botocore.exceptions
import fsspec.exceptions
import pytest
import urllib3.exceptions

from omnimat.base.errors import RunError, UserError
from omnimat.base.retry import is_transient, patiently, reason


def answered(status):
    return aiohttp.ClientResponseError(None, (), status=status, message="said the server")


TRANSIENT = [
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ESTALE, "Stale file handle"),  # NFS
    OSError(errno.EBUSY, "Please reduce your request rate."),  # s3fs of 503
    OSError("no errno"),
    ConnectionResetError("reset"),
    BrokenPipeError(),
    TimeoutError(),
    asyncio.IncompleteReadError(b"", 5),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    fsspec.exceptions.FSTimeoutError(),
    http.client.IncompleteRead(b"", 10),
    http.client.RemoteDisconnected("closed"),
    urllib3.exceptions.ProtocolError("broken"),
    aiohttp.ClientPayloadError("not completed"),
    aiohttp.ServerDisconnectedError(),
    answered(503),
    answered(429),
    answered(408),
    botocore.exceptions.EndpointConnectionError(endpoint_url="x"),
    botocore.exceptions.ReadTimeoutError(endpoint_url="x"),
    botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    botocore.exceptions.ResponseStreamingError(error="x"),
    botocore.exceptions.ConnectionClosedError(endpoint_url="x"),
]
LASTING = [
    OSError("Forbidden: https://storage.googleapis.com/b"),  # gcsfs of 403
    FileNotFoundError("x"),
    PermissionError("Forbidden"),
    IsADirectoryError("x"),
    OSError(errno.EINVAL, "The requested range is not satisfiable"),  # s3fs of 416
    answered(403),
    answered(404),
    botocore.exceptions.NoCredentialsError(),
    TypeError("a mistake of ours"),
    ValueError("x"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda e: type(e).__name__)
def test_transient(error):
    assert is_transient(error)


@pytest.mark.parametrize("error", LASTING, ids=lambda e: type(e).__name__)
def test_lasting(error):
    assert not is_transient(error)


def test_reasons_are_one_line_a_person_understands():
    assert reason(FileNotFoundError(2, "No such file", "/x")) == "it does not exist"
    assert reason(PermissionError("Forbidden")) == (
        "no permission, check the credentials (Forbidden)"
    )
    assert reason(botocore.exceptions.NoCredentialsError()) == (
        "no permission, check the credentials (Unable to locate credentials)"
    )
    assert reason(TimeoutError()) == "TimeoutError"
    assert reason(OSError("first\nsecond")) == "OSError: first"
    assert len(reason(OSError("long" * 1000))) < 220


class Failing:
    """Fails so often, then gives 7."""

    def __init__(self, error, times):
        self.error, self.times, self.calls = error, times, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return 7


@pytest.fixture
def waits(monkeypatch):
    """The seconds that would have been slept."""
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


def test_patience_waits_longer_each_time(waits):
    assert patiently(Failing(ConnectionResetError(), 4), "x") == 7
    assert len(waits) == 4
    for attempt, wait in enumerate(waits):
        assert 0.05 * 2**attempt <= wait <= 0.1 * 2**attempt


def test_patience_ends(waits):
    action = Failing(ConnectionResetError("reset"), 99)
    with pytest.raises(RunError, match=r"^s3://b/x: ConnectionResetError: reset, at each of 6 tri"):
        patiently(action, "s3://b/x")
    assert action.calls == 6
    assert sum(waits) < 3.2


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (FileNotFoundError("x"), FileNotFoundError, "x"),
        (PermissionError("Forbidden"), UserError, r"^s3://b/x: no permission, check the cred"),
        (ImportError("Install s3fs"), UserError, r"^s3://b/x: ImportError: Install s3fs"),
        (TypeError("a mistake"), TypeError, "a mistake"),
    ],
)
def test_what_lasts_is_said_at_once(error, raised, text, waits):
    action = Failing(error, 99)
    with pytest.raises(raised, match=text):
        patiently(action, "s3://b/x")
    assert action.calls == 1
    assert waits == []
