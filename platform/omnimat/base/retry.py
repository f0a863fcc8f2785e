"""Recognises errors of a storage that pass by themselves, and retries until they have passed.

Remote filesystems let through the errors of the HTTP libraries that they use, most of which are not
an ``OSError``. They are recognised by the package that defines them, so that reading a local file
does not import such a library.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt

from omnimat.base.errors import RunError, UserError
from omnimat.base.storage_errors import told_of

NUM_TRIES = 6
FIRST_WAIT_S = 0.1
_MAX_REASON_CHARACTERS = 200

_NETWORK_PACKAGES = frozenset(
    {"aiohttp", "asyncio", "azure", "botocore", "gcsfs", "google", "http", "paramiko", "urllib3"}
)
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_LASTING_ERRNOS = frozenset(
    {errno.EINVAL, errno.ENAMETOOLONG, errno.ENOSYS, errno.ENOSPC, errno.EDQUOT, errno.EROFS}
)
_NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"}
)
# The HTTP statuses 4xx that may pass: timeout, too early, too many requests.
_PASSING_STATUS = frozenset({408, 425, 429})

_T = TypeVar("_T")


def is_transient(error: Exception) -> bool:
    """Return whether it may help to try again."""
    if isinstance(error, _LASTING) or type(error).__name__ in _NO_CREDENTIALS:
        return False
    if type(error) is OSError and str(error).startswith("Forbidden: "):  # how gcsfs reports a 403
        return False
    # aiohttp has the first attribute (and deprecates the second), and gcsfs has the second.
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
    """Return what the storage answered in one line that people understand."""
    text = str(error).partition("\n")[0][:_MAX_REASON_CHARACTERS]
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
        return f"no permission, check the credentials ({text or type(error).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def jitter() -> float:
    """Draw the factor of a wait from 1/2 to 1, so that retries do not all come at the same time.

    It does not use the seeded generator, since a retry must not change what a run draws.
    """
    return random.SystemRandom().uniform(0.5, 1.0)


def wait_s(attempt: int) -> float:
    """Return how long to wait after a failed try, counted from 1; the wait doubles each time."""
    return float(FIRST_WAIT_S * 2 ** (attempt - 1) * jitter())


def patiently(action: Callable[[], _T], what: object) -> _T:
    """Do something, and do it again while it fails for a passing cause.

    Args:
        action: what to do; doing it twice must do no harm.
        what: what it is done to, with which error messages begin.

    Raises:
        FileNotFoundError: the action raised it.
        UserError: the storage refuses; the message says why.
        RunError: no try succeeded, or the disk is full.
    """
    tries = Retrying(
        retry=retry_if_exception(
            lambda error: isinstance(error, Exception) and is_transient(error)
        ),
        wait=lambda state: wait_s(state.attempt_number),
        stop=stop_after_attempt(NUM_TRIES),
        reraise=True,
    )
    try:
        return tries(action)
    except FileNotFoundError:
        raise
    except Exception as error:
        if is_transient(error):
            raise RunError(f"{what}: {reason(error)}, at each of {NUM_TRIES} tries") from error
        if isinstance(error, OSError) and (told := told_of(error, what)):
            raise told from error
        if isinstance(error, OSError | ImportError) or _is_of_network(error):
            raise UserError(f"{what}: {reason(error)}") from error
        raise
