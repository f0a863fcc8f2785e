"""The items of a source, of which one may raise, crash, hang or burst and cost only itself.

The usual way reads a slice in this process. Its limits only end what would not end by itself; they
judge nothing. Whoever notices that reads the slice again, guarded: one item after another in a
child process, which shows the item that is to blame. Both ways give the same results for the same
items.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from omnimat.base.child import Child, ChildDiedError, LimitError, Limits, renew, within
from omnimat.base.errors import RunError, UserError
from omnimat.materials.record import Failure, Record
from omnimat.materials.split import SplitSettings
from omnimat.modalities.registry import parts
from omnimat.shards.codec import encode
from omnimat.sources.base import Source, SourceSettings
from omnimat.sources.checker import Checker

Result = Record | Failure


@contextmanager
def usual_items(
    source: Source, start: int, stop: int, limits: Limits
) -> Iterator[Iterator[Result]]:
    """Read a slice in this process, which is under the limits until the block ends.

    They hold for an item and for what is done with it before the next one is asked for. At the
    limit of CPU time this process is killed, and at that of memory it gets a ``MemoryError``.
    """
    with within(limits):
        yield _usual(source, start, stop, limits)


@contextmanager
def guarded_items(
    source: Source, start: int, stop: int, limits: Limits
) -> Iterator[Iterator[Result]]:
    """Read a slice item by item in a child process, and replace what it dies of by a failure.

    Tables that a source reads before its first item do not count towards the limits.
    """
    parts()  # of whose classes the child sends objects
    with Child(functools.partial(_warm_up, source, start)) as child:
        indices = range(start, min(stop, source.num_items()))
        yield itertools.chain.from_iterable(
            _guarded(child, source, index, limits) for index in indices
        )


def _usual(source: Source, start: int, stop: int, limits: Limits) -> Iterator[Result]:
    num_given = 0
    try:
        for result in source.read(start, stop):
            yield result
            num_given += 1
            renew(limits)
        return
    except Exception as error:
        if not _is_of_the_item(error):
            raise
    # The generator is dead. A source gives the same again, and so does each item read singly.
    singly = itertools.chain.from_iterable(_read(source, index) for index in range(start, stop))
    for result in itertools.islice(singly, num_given, None):
        yield result
        renew(limits)


def _read(source: Source, index: int) -> Iterator[Result]:
    """Read one item, with a failure in the place of any exception that is its own."""
    try:
        yield from source.read(index, index + 1)
    except Exception as error:
        if not _is_of_the_item(error):
            raise
        yield Failure(item_name(source, index), _told(error))


def _is_of_the_item(error: Exception) -> bool:
    """Tell an item's own fault from that of the settings or the storage, and from a limit."""
    if isinstance(error, gzip.BadGzipFile):  # an OSError, but not of the storage
        return True
    return not isinstance(error, UserError | RunError | OSError | MemoryError)


def item_name(source: Source, index: int) -> str:
    """Return what an item is called in a failure, even if its source fails to say it."""
    with suppress(Exception):
        return source.item_name(index)
    return SourceSettings().item_name(index)


def _told(error: Exception) -> str:
    """Return an exception in one line; a plain ValueError explains itself."""
    message = " ".join(str(error).split())
    if type(error) is ValueError and message:
        return message
    return f"{type(error).__name__}: {message}".removesuffix(": ")


def _guarded(child: Child, source: Source, index: int, limits: Limits) -> list[Result]:
    try:
        return _called(child, source, index, limits)
    except LimitError as error:
        reason = str(error)
    except ChildDiedError as error:
        reason = f"crashed its reader: {error}"
    return [Failure(_name(child, source, index, limits), reason)]


def _called(child: Child, source: Source, index: int, limits: Limits) -> list[Result]:
    try:
        return child.call(_rehearsed, source, index, limits=limits)
    except ChildDiedError as error:
        if error.exit_code != -signal.SIGKILL:
            raise
    # It did not do that by itself: a machine out of memory kills whom it likes.
    return child.call(_rehearsed, source, index, limits=limits)


def _name(child: Child, source: Source, index: int, limits: Limits) -> str:
    try:
        return child.call(item_name, source, index, limits=limits)
    except (ChildDiedError, LimitError):
        return SourceSettings().item_name(index)


def _warm_up(source: Source, start: int) -> None:
    with suppress(Exception):  # an item says what is wrong
        list(source.read(start, start))


def _rehearsed(source: Source, index: int) -> list[Result]:
    """Read an item, and check and encode it for trial, so that this cannot fail later.

    A ``ValueError`` is left to the one who does it in earnest.
    """
    results = list(_read(source, index))
    for place, result in enumerate(results):
        try:
            for record in Checker(SplitSettings(), ()).accepted([result]):
                encode(record)
        except ValueError:
            continue
        except Exception as error:
            if not _is_of_the_item(error):
                raise
            results[place] = Failure(result.material_id, _told(error))
    return results
