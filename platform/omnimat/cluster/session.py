"""The Ray cluster that a command works on: one that it is told of, or one of its own."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

import ray
from ray.exceptions import LocalRayletDiedError, NodeDiedError, RayError, RaySystemError

from omnimat.base.errors import RunError
from omnimat.base.words import shortened
from omnimat.cluster import own
from omnimat.cluster.leftovers import remove_leftovers

_ANSWER_TIMEOUT_S = 10.0
_SHOWN_CHARACTERS = 300
_OTHER = "start a Ray of this version there, name another, or unset RAY_ADDRESS to start one here"
_LOGS = "its logs in /tmp/ray/session_latest/logs say more; free memory or disk, and try again"


def is_own() -> bool:
    """Say whether the Ray of this session is one of its own, which ends with it."""
    return not os.environ.get("RAY_ADDRESS")


@contextmanager
def session(imports: Sequence[str] = ()) -> Iterator[None]:
    """Connect to the cluster of ``RAY_ADDRESS``, or start a Ray of our own and stop it at the end.

    Left to itself, Ray would attach to any cluster that it finds on this machine.

    Args:
        imports: modules to import meanwhile. One that fails fails again where it is used.

    Raises:
        RunError: no Ray answers or starts, it is of another version, or it ended meanwhile.
    """
    with ThreadPoolExecutor(1) as meanwhile:
        meanwhile.submit(lambda: [import_module(name) for name in imports])
        _connect()
    signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        yield
    except RayError as error:
        if not _is_of_lost_cluster(error):
            raise
        raise RunError(
            f"Ray ended while it was needed: {shortened(str(error), _SHOWN_CHARACTERS)}; run the "
            "command again, and it goes on where it was"
        ) from error
    finally:
        ray.shutdown()


def _connect() -> None:
    if address := os.environ.get("RAY_ADDRESS"):
        with _explained(f"the Ray at {address}, which RAY_ADDRESS names, cannot be used", _OTHER):
            _check_answers(address)
            ray.init(address="auto", runtime_env={"env_vars": {"RAY_ADDRESS": address}})
        if left := remove_leftovers():
            print(f"freed {len(left)} placement groups that ended jobs still held", flush=True)
    else:
        with _explained("Ray does not start on this machine", _LOGS):
            own.start()


@contextmanager
def _explained(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever Ray raises while it connects or starts into one sentence."""
    try:
        yield
    except Exception as error:  # Ray raises Exception itself when it does not start
        ray.shutdown()
        reason = shortened(str(error) or type(error).__name__, _SHOWN_CHARACTERS)
        raise RunError(f"{what}: {reason.rstrip('.')}; {remedy}") from error


def _is_of_lost_cluster(error: RayError) -> bool:
    """Say whether Ray itself has ended; an answer that cannot be read comes with a traceback."""
    if isinstance(error, RaySystemError):
        return not error.traceback_str
    return isinstance(error, LocalRayletDiedError | NodeDiedError)


def _check_answers(address: str) -> None:
    """Look whether anything answers at all; Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_TIMEOUT_S).close()


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    """Leave through the ``finally`` blocks, so that nothing stays behind on the cluster."""
    sys.exit(128 + number)
