"""Asking a service that throttles, fails and breaks off, until it answers or patience ends."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from pydantic import Field

from omnimat.base.errors import RunError
from omnimat.base.settings import Settings

T = TypeVar("T")

# Enough to single out two or three bad ids among a thousand: each costs two requests a halving.
_MAX_REQUESTS_A_BATCH = 60


class Patience(Settings):
    """How long a request is repeated; waits double from the first to the longest.

    The small retries of mp-api, boto3 and deltalake lie below this and are left as they are.

    Attributes:
        total_s: waiting for one request, altogether.
        first_wait_s: before the second attempt.
        longest_wait_s: between two attempts.
    """

    total_s: float = Field(600.0, ge=0)
    first_wait_s: float = Field(2.0, gt=0)
    longest_wait_s: float = Field(60.0, gt=0)

    def waits_s(self) -> Iterator[float]:
        """Give the waits between attempts."""
        left_s, wait_s = self.total_s, self.first_wait_s
        while left_s > 0:
            yield min(wait_s, left_s)
            left_s -= wait_s
            wait_s = min(2 * wait_s, self.longest_wait_s)


class Refused(Exception):
    """The service answered, and the same question gets the same answer."""


class Missing(Refused):
    """There is no such thing."""


class Unavailable(Exception):
    """No whole answer, or one that asks to come back: 429, 5xx, a cut connection."""


class TooMuch(Unavailable):
    """It failed over this question, or was too slow: 500, 502, 504; a smaller one may do."""


class Patient:
    """Asks one service.

    Patience is spent once: while the service has answered nothing since, requests are made once
    each, so that a broken route costs minutes and not days.
    """

    def __init__(self, service: str, patience: Patience, is_alive: Callable[[], bool]) -> None:
        self._service = service
        self._patience = patience
        self._is_alive = is_alive
        self._is_spent = False
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        """End all waiting, in whatever thread: the run is over."""
        self._is_stopped.set()

    def call(
        self, action: Callable[[], T], is_patient: bool = True, is_divisible: bool = False
    ) -> T:
        """Do ``action``, again where it raises ``Unavailable``.

        Args:
            action: raises ``Refused`` or ``Unavailable``, or gives the answer.
            is_patient: False asks once.
            is_divisible: True asks once where the answer is ``TooMuch``.

        Raises:
            Refused: by the action.
            Unavailable: patience has ended, though the service is there.
            RunError: the service does not answer at all.
        """
        waits_s = self._patience.waits_s() if is_patient and not self._is_spent else ()
        for wait_s in waits_s:
            try:
                return self._answered(action)
            except Unavailable as error:
                if is_divisible and isinstance(error, TooMuch):
                    raise
                # Many clients that were throttled together must not come back together.
                if self._is_stopped.wait(wait_s * random.uniform(0.5, 1.0)):
                    raise RunError("stopped") from None
        try:
            return self._answered(action)
        except Unavailable as error:
            if is_divisible and isinstance(error, TooMuch):
                raise
            self._is_spent = True
            if self._is_alive():
                raise
            raise RunError(
                f"{self._service} does not answer ({error}); what was fetched is kept: run the "
                "job again later to go on"
            ) from error

    def _answered(self, action: Callable[[], T]) -> T:
        try:
            result = action()
        except Refused:  # an answer, too
            self._is_spent = False
            raise
        self._is_spent = False
        return result

    def by_halves(
        self, ids: Sequence[str], get: Callable[[Sequence[str]], Mapping[str, T]]
    ) -> tuple[dict[str, T], dict[str, str]]:
        """Get many at once; a request that fails is halved, so that one bad id costs no other.

        Args:
            ids: what to get.
            get: gives what there is of some ids; as the action of ``call``.

        Returns:
            What there is by id, and the reason by id of what could not be had. An id in neither is
            one the service does not have.

        Raises:
            RunError: the service does not answer at all.
        """
        found: dict[str, T] = {}
        failed: dict[str, str] = {}
        groups, num_requests, num_answers = [ids], 0, 0
        while groups:
            group = groups.pop()
            num_requests += 1
            try:
                # Once one is answered, what is not has a reason of its own.
                answer = self.call(functools.partial(get, group), not num_answers, len(group) > 1)
                found.update(answer)
                num_answers += 1
            except (Refused, Unavailable) as error:
                middle = 0 if isinstance(error, Missing) else len(group) // 2
                if middle and num_requests < _MAX_REQUESTS_A_BATCH:
                    groups += [group[:middle], group[middle:]]
                else:
                    failed.update(dict.fromkeys(group, str(error)))
        return found, failed
