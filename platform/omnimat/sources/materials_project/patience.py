"""Asking a service that throttles, fails and breaks off, until it answers or patience ends."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import Field
from tenacity import Retrying, retry_if_exception, wait_exponential

from omnimat.base.errors import RunError
from omnimat.base.retry import jitter
from omnimat.base.settings import Settings

T = TypeVar("T")

# Enough to single out two or three bad ids among a thousand: each costs two requests a halving.
_MAX_REQUESTS_A_BATCH = 60


class Patience(Settings):
    """How long a request is repeated; the waits double from the first to the longest.

    The small retries of mp-api, boto3 and deltalake lie beneath this and are left as they are.

    Attributes:
        total_s: for how long one request may wait altogether.
        first_wait_s: how long to wait before the second attempt, at most.
        longest_wait_s: how long to wait between two attempts, at most.
    """

    total_s: float = Field(600.0, ge=0)
    first_wait_s: float = Field(2.0, gt=0)
    longest_wait_s: float = Field(60.0, gt=0)


class Refused(Exception):
    """The service answered, and would answer the same question in the same way."""


class Missing(Refused):
    """There is no such thing."""


class Unavailable(Exception):
    """There was no whole answer, or one that asks to come back: 429, 5xx, a cut connection."""


class TooMuch(Unavailable):
    """It failed over this question or was too slow (500, 502, 504); a smaller one may do."""


class Patient:
    """Asks one service.

    Patience is spent once: as long as the service has answered nothing since, every request is made
    once, so that a broken route costs minutes and not days.
    """

    def __init__(self, service: str, patience: Patience, is_alive: Callable[[], bool]) -> None:
        self._service = service
        self._total_s = patience.total_s
        self._backoff = wait_exponential(patience.first_wait_s, patience.longest_wait_s)
        self._is_alive = is_alive
        self._is_spent = False
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        """End all waiting in every thread: the run is over."""
        self._is_stopped.set()

    def call(
        self, action: Callable[[], T], is_patient: bool = True, is_divisible: bool = False
    ) -> T:
        """Do ``action``, and do it again while it raises ``Unavailable``.

        Args:
            action: raises ``Refused`` or ``Unavailable``, or gives the answer.
            is_patient: False asks once.
            is_divisible: True does not ask again where the answer is ``TooMuch``.

        Raises:
            Refused: the action raised it.
            Unavailable: patience has ended, though the service is there.
            RunError: the service does not answer at all, or the run is over.
        """

        def passes(error: BaseException) -> bool:
            is_too_much = is_divisible and isinstance(error, TooMuch)
            return isinstance(error, Unavailable) and not is_too_much

        total_s = self._total_s if is_patient and not self._is_spent else 0.0
        tries = Retrying(
            retry=retry_if_exception(passes),
            wait=lambda state: self._backoff(state) * jitter(),
            stop=lambda state: state.idle_for >= total_s,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            result = tries(action)
        except Refused:  # an answer, too
            self._is_spent = False
            raise
        except Unavailable as error:
            self._is_spent = self._is_spent or passes(error)
            if not passes(error) or self._is_alive():
                raise
            raise RunError(
                f"{self._service} does not answer ({error}); what was fetched is kept: run the "
                "job again later to go on"
            ) from error
        self._is_spent = False
        return result

    def _sleep(self, seconds: float) -> None:
        if self._is_stopped.wait(seconds):
            raise RunError("stopped")

    def by_halves(
        self, ids: Sequence[str], get: Callable[[Sequence[str]], Mapping[str, T]]
    ) -> tuple[dict[str, T], dict[str, str]]:
        """Get many things at once; a request that fails is halved, so that a bad id costs no other.

        Args:
            ids: what to get.
            get: gives what there is of some ids, and raises what the action of ``call`` does.

        Returns:
            By id, what there is, and the reason why something could not be had. The service does
            not have what is in neither.

        Raises:
            RunError: the service does not answer at all, or the run is over.
        """
        found: dict[str, T] = {}
        failed: dict[str, str] = {}
        groups, num_requests, num_answers = [ids], 0, 0
        while groups:
            group = groups.pop()
            num_requests += 1
            try:
                # Once a request was answered, one that is not has a reason of its own.
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
