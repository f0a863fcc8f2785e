"""Lengths of time in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Format seconds as people write them: ``12.5 s``, ``3 min 20 s``, ``5 h 02 min``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
