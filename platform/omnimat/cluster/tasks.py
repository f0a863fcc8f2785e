"""Runs Ray tasks, a few at a time, and tries again those that were lost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from omnimat.base.errors import RunError, UserError

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")

_NUM_TRIES = 4
_IN_FLIGHT_PER_SLOT = 2


def in_parallel(
    num_cpus: float,
    function: Callable[..., T],
    calls: Mapping[Key, tuple[Any, ...]],
    again: Callable[..., T] | None = None,
    num_gpus: float = 0.0,
) -> Iterator[tuple[Key, T]]:
    """Run one Ray task per call, only so many at a time, and yield the results as they arrive.

    A task is tried again if the storage fails, or if its worker or node is lost.

    Args:
        num_cpus: how many CPUs each task asks of Ray.
        function: body of the tasks.
        calls: its arguments, by the key of each result.
        again: body of every further try. It gets one after any other exception too, except those
            that explain themselves.
        num_gpus: how many GPUs each task asks of Ray.
    """
    limit = _num_slots({"CPU": num_cpus, "GPU": num_gpus}) * _IN_FLIGHT_PER_SLOT
    # Ray itself would try a task that crashes its worker again in the same way.
    first, later = (
        ray.remote(one).options(num_cpus=num_cpus, num_gpus=num_gpus, max_retries=0)
        for one in (function, again or function)
    )
    waiting, num_tries = list(calls)[::-1], dict.fromkeys(calls, 0)
    running: dict[ray.ObjectRef, Key] = {}
    while waiting or running:
        while waiting and len(running) < limit:
            key = waiting.pop()
            task = later if num_tries[key] else first
            num_tries[key] += 1
            running[task.remote(*calls[key])] = key
        done, _ = ray.wait(list(running), num_returns=1)
        key = running.pop(done[0])
        try:
            result = ray.get(done[0])
        except RayError as error:
            if not _helps_to_try_again(error, num_tries[key], may_differ=again is not None):
                raise explained(error, num_tries[key]) from None
            waiting.append(key)
        else:
            yield key, result


def _num_slots(each: Mapping[str, float]) -> int:
    """Count the tasks that the cluster can hold now; at least 1."""
    there = ray.cluster_resources()
    return max(
        1, min(int(there.get(name, 1.0) / amount) for name, amount in each.items() if amount)
    )


def _helps_to_try_again(error: RayError, num_tries: int, may_differ: bool) -> bool:
    cause = error.cause if isinstance(error, RayTaskError) else error
    if num_tries >= _NUM_TRIES or isinstance(cause, UserError | RunError):
        return False
    if isinstance(cause, OSError | RayError):
        return True
    return may_differ and num_tries == 1


def explained(error: RayError, num_tries: int) -> Exception:
    """Return the exception of a task itself, or say that no worker got to its end.

    Args:
        error: what Ray raised.
        num_tries: how often the task was tried if its worker was lost.
    """
    if isinstance(error, RayTaskError) and isinstance(error.cause, UserError | RunError):
        return error.cause  # without the traceback that Ray adds to its message
    if isinstance(error, RayTaskError):
        cause: Exception = error.as_instanceof_cause()
        return cause
    first_line = str(error).strip().partition("\n")[0]
    return RunError(
        f"Ray lost a task at each of {num_tries} tries, the last time by "
        f"{type(error).__name__}: {first_line}; run the job again to go on"
    )
