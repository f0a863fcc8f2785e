"""Which errors of a storage pass by themselves, and how long to wait for that.

Remote filesystems let errors of the HTTP libraries under them through, most of which are no
``OSError``. They are known by the package that defines them, so that none need be imported to read
a local file.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from omnimat.base.errors import RunError, UserError

NUM_TRIES = 6
FIRST_WAIT_S = 0.1
_MAX_REASON_CHARACTERS = 200

_NETWORK_PACKAGES = frozenset(
    {"aiohttp", "asyncio", "azure", "botocore", "gcsfs", "google", "http", "paramiko", "urllib3"}
)
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_LASTING_ERRNOS = frozenset({errno.EINVAL, errno.ENAMETOOLONG, errno.ENOSYS, errno.ENOSPC})
_NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"}
)
# Answers of HTTP 4xx that do pass: timeout, too early, too many requests.
_PASSING_STATUS = frozenset({408, 425, 429})

_T = TypeVar("_T")


def is_transient(error: Exception) -> bool:
    """Say whether trying again may help."""
    if isinstance(error, _LASTING) or type(error).__name__ in _NO_CREDENTIALS:
        return False
    if type(error) is OSError and str(error).startswith("Forbidden: "):  # gcsfs of a 403
        return False
    # aiohttp has the first (and deprecates the second), gcsfs the second.
    status = error.status if hasattr(error, "status") else getattr(error, "code", None)
    if isinstance(status, int) and 400 <= status < 500:
        return status in _PASSING_STATUS
    if isinstance(error, OSError):
        return error.errno not in _LASTING_ERRNOS
    return _is_of_network(error)


def _is_of_network(error: Exception) -> bool:
    packages = {base.__module__.partition(".")[0] for base in type(error).__mro__}
    return not packages.isdisjoint(_NETWORK_PACKAGES)


def reason(error: Exception) -> str:
    """Say in one line, for a person, what the storage answered."""
    text = str(error).partition("\n")[0][:_MAX_REASON_CHARACTERS]
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
        return f"no permission, check the credentials ({text or type(error).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def wait(attempt: int) -> None:
    """Wait after a failed try, counted from 1; longer each time, and no two readers the same."""
    # Not of the seeded generator: a retry must not change what a run draws.
    jitter = random.SystemRandom().uniform(0.5, 1.0)
    time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1) * jitter)


def patiently(action: Callable[[], _T], what: object) -> _T:
    """Do something that may be done twice, and again while it fails for a passing cause.

    Raises:
        FileNotFoundError: as the action does.
        UserError: it will not be done; the sentence names ``what`` and says why.
        RunError: no try succeeded.
    """
    attempt = 1
    while True:
        try:
            return action()
        except FileNotFoundError:
            raise
        except Exception as error:
            if not (isinstance(error, OSError | ImportError) or _is_of_network(error)):
                raise
            if not is_transient(error):
                raise UserError(f"{what}: {reason(error)}") from error
            if attempt == NUM_TRIES:
                raise RunError(f"{what}: {reason(error)}, at each of {NUM_TRIES} tries") from error
        wait(attempt)
        attempt += 1
