"""What a child may send: every value as it was, and nothing that makes the receiver run code."""

import dataclasses
import json
import math
import multiprocessing
from subprocess import CalledProcessError

import numpy as np
import pytest

from omnimat.base.answers import receive, send, sendable
from omnimat.base.errors import RunError, UserError


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    one: object
    two: object


@dataclasses.dataclass
class Changeable:
    one: int


@pytest.fixture
def pipe():
    ours, theirs = multiprocessing.Pipe()
    yield ours, theirs
    ours.close()
    theirs.close()


def sent(pipe, value):
    send(pipe[0], value)
    return receive(pipe[1])


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, -3, 0.1, math.inf, 10**30, "\ud800 \0 \u00e9", b"\x00\xff", (), [], {}),
        {"a": (1, [2.5, None]), 3: {"b": b"c"}, (1, 2): "d"},
        Pair("x", Pair((1, 2), [Pair(None, b"")])),
    ],
)
def test_a_value_arrives_as_it_was(value, pipe):
    found = sent(pipe, value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3), ">f4"),
        np.array("abc"),
        np.float64(0.1),
        np.bool_(True),
    ],
)
def test_an_array_arrives_as_it_was(value, pipe):
    found = sent(pipe, Pair(value, None)).one
    assert type(found) is type(value)
    assert found.dtype == value.dtype
    np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (KeyError("x"), KeyError, "'x'"),
        (UserError("why"), UserError, "why"),
        (RunError("why"), RunError, "why"),
        (
            FileNotFoundError(2, "No such file", "f"),
            FileNotFoundError,
            "[Errno 2] No such file: 'f'",
        ),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), UnicodeDecodeError, "bad"),
        (json.JSONDecodeError("bad", "{", 0), ValueError, "JSONDecodeError: bad"),
        (CalledProcessError(1, "x"), RuntimeError, "CalledProcessError: "),
        (ValueError(object), RuntimeError, "ValueError: <class 'object'>"),
    ],
)
def test_an_error_arrives_or_the_nearest_that_can(error, kind, text, pipe):
    found = sent(pipe, sendable(error))
    assert type(found) is kind
    assert text in str(found)


@pytest.mark.parametrize("value", [object(), len, Changeable(1), np.array([object()]), {1, 2}])
def test_what_is_no_value_is_not_sent(value, pipe):
    with pytest.raises(TypeError, match="cannot be sent"):
        send(pipe[0], [value])
    assert not pipe[1].poll()


@pytest.mark.parametrize(
    "content",
    [
        {"dataclass": ["os", "system", {"command": "false"}]},
        {"dataclass": ["subprocess", "Popen", {"args": ["false"]}]},
        {"dataclass": [__name__, "Changeable", {"one": 1}]},
        {"dataclass": ["no.such.module", "Pair", {}]},
        {"exception": ["SystemExit", []]},
        {"exception": ["eval", ["1"]]},
        {"code": "1"},
    ],
)
def test_a_forged_value_is_refused(content, pipe):
    pipe[0].send_bytes(json.dumps([content, 0]).encode())
    with pytest.raises((TypeError, KeyError)):
        receive(pipe[1])
