"""Damages files as disks, transfers, editors and people do, the same way for the same seed.

Whoever reads such a file is watched: it may refuse it, but neither warn, nor raise, hang or burst.
"""

from __future__ import annotations

import gzip
import re
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from omnimat.base.child import Limits, within
from omnimat.base.errors import UserError

Damage = Callable[[bytes, np.random.Generator], bytes]
"""Changes the content of a file; it may return it unchanged where it finds nothing to change."""

_LIMITS = Limits(max_cpu_s=20, max_memory_gb=1)
_GZIP = b"\x1f\x8b"
_NUMBER = re.compile(rb"(?<![\w.+-])[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
_SYMBOL = re.compile(rb"(?<![A-Za-z])[A-Z][a-z]?(?![A-Za-z])")
_QUOTES = re.compile(rb"[\"'<>{}\[\]]")
_NUMBERS = (b"nan", b"inf", b"1e999", b"-1", b"0", b"9" * 30, b"")
_SYMBOLS = (b"X", b"Q", b"D", b"OH")


def damaged_files(
    content: bytes, seed: Sequence[int], num_rounds: int = 1
) -> Iterator[tuple[str, bytes]]:
    """Damage a file in every way that changes it.

    Args:
        content: bytes of the file; of a gzip archive, what is inside is damaged, and itself too.
        seed: numbers that decide where.
        num_rounds: how often each way is taken.

    Yields:
        What was done, and the bytes of the damaged file.
    """
    is_packed = content.startswith(_GZIP)
    inside = gzip.decompress(content) if is_packed else content
    text = DAMAGES_OF_TEXT if b"\0" not in inside else {}
    for number in range(num_rounds):
        for place, (name, damage) in enumerate({**text, **DAMAGES_OF_BYTES}.items()):
            changed = damage(inside, np.random.default_rng([*seed, number, place]))
            if changed != inside:
                packed = gzip.compress(changed, mtime=0) if is_packed else changed
                yield f"{name}, round {number}", packed
        for place, (name, damage) in enumerate(DAMAGES_OF_BYTES.items() if is_packed else ()):
            changed = damage(content, np.random.default_rng([*seed, number, place]))
            if changed != content:
                yield f"{name} of the archive, round {number}", changed


class _TooLongError(BaseException):
    """Not an ``Exception``, which a reader might catch."""


def _stop(*_: object) -> None:
    raise _TooLongError


@contextmanager
def watched() -> Iterator[list[str]]:
    """Run what reads a damaged file, under limits of CPU time and memory.

    Yields:
        A list that says at the end what should not have happened. A ``UserError`` may happen.
    """
    told: list[str] = []
    usual = signal.signal(signal.SIGPROF, _stop)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
        try:
            with within(_LIMITS):
                yield told
        except UserError:
            pass
        except _TooLongError:
            told.append(f"took more than {_LIMITS.max_cpu_s} s of CPU")
        except Exception as error:  # noqa: BLE001
            told.append(f"raised {error!r}")
        finally:
            signal.signal(signal.SIGPROF, usual)
    told += [f"warned: {one.message}" for one in warned]


def _replaced(pattern: re.Pattern[bytes], new: bytes) -> Damage:
    """Return what puts something else in the place of one match."""

    def replaced(content: bytes, draw: np.random.Generator) -> bytes:
        found = list(pattern.finditer(content))
        if not found:
            return content
        begin, end = found[draw.integers(len(found))].span()
        return content[:begin] + new + content[end:]

    return replaced


def _lines(change: Callable[[list[bytes], np.random.Generator], list[bytes]]) -> Damage:
    def changed(content: bytes, draw: np.random.Generator) -> bytes:
        lines = content.splitlines(keepends=True)
        return b"".join(change(lines, draw)) if len(lines) > 1 else content

    return changed


def _doubled(lines: list[bytes], draw: np.random.Generator) -> list[bytes]:
    place = int(draw.integers(len(lines)))
    return lines[: place + 1] + lines[place:]


def _dropped(lines: list[bytes], draw: np.random.Generator) -> list[bytes]:
    place = int(draw.integers(len(lines)))
    return lines[:place] + lines[place + 1 :]


def _swapped(lines: list[bytes], draw: np.random.Generator) -> list[bytes]:
    place = int(draw.integers(len(lines) - 1))
    return [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]


def _section_repeated(lines: list[bytes], draw: np.random.Generator) -> list[bytes]:
    begin, end = sorted(int(place) for place in draw.integers(len(lines) + 1, size=2))
    return lines[:end] + lines[begin:]


def _line_cut_off(lines: list[bytes], draw: np.random.Generator) -> list[bytes]:
    return lines[: int(draw.integers(1, len(lines)))]


def _cut_off(content: bytes, draw: np.random.Generator) -> bytes:
    return content[: int(draw.integers(len(content)))]


def _flipped(count: int) -> Damage:
    def flipped(content: bytes, draw: np.random.Generator) -> bytes:
        changed = bytearray(content)
        for place in draw.integers(len(content), size=count):
            changed[place] ^= 1 << int(draw.integers(8))
        return bytes(changed)

    return flipped


def _inserted(new: bytes) -> Damage:
    def inserted(content: bytes, draw: np.random.Generator) -> bytes:
        place = int(draw.integers(len(content) + 1))
        return content[:place] + new + content[place:]

    return inserted


def _block_repeated(content: bytes, draw: np.random.Generator) -> bytes:
    begin, end = sorted(int(place) for place in draw.integers(len(content) + 1, size=2))
    return content[:end] + content[begin:]


def _zeroed(content: bytes, draw: np.random.Generator) -> bytes:
    """Put zeros where a disk lost a block."""
    begin, end = sorted(int(place) for place in draw.integers(len(content) + 1, size=2))
    return content[:begin] + b"\0" * (end - begin) + content[end:]


DAMAGES_OF_BYTES: Mapping[str, Damage] = {
    "cut off": _cut_off,
    "a bit flipped": _flipped(1),
    "eight bits flipped": _flipped(8),
    "a NUL inserted": _inserted(b"\0"),
    "bytes of no encoding inserted": _inserted(b"\xff\xfe\xc3"),
    "a block repeated": _block_repeated,
    "a block zeroed": _zeroed,
    "emptied": lambda content, draw: b"",
}
DAMAGES_OF_TEXT: Mapping[str, Damage] = {
    "a line doubled": _lines(_doubled),
    "a line dropped": _lines(_dropped),
    "lines swapped": _lines(_swapped),
    "a section repeated": _lines(_section_repeated),
    "cut off after a line": _lines(_line_cut_off),
    "a quote or bracket lost": _replaced(_QUOTES, b""),
    "a quote inserted": _inserted(b'"'),
    **{f"a number made {one.decode() or 'nothing'}": _replaced(_NUMBER, one) for one in _NUMBERS},
    **{f"a symbol made {one.decode()}": _replaced(_SYMBOL, one) for one in _SYMBOLS},
}
