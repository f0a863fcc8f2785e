"""Numbers, units, formulas and times as materials scientists write them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from omnimat.base.characters import escaped
from omnimat.leaderboard.scale import Scale, unit

__all__ = ["Scale", "unit"]  # for pages

_COUNT = re.compile(r"(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)")


def words(name: str) -> str:
    """Write a stored name as people read it: ``retrieval dos → charge density``."""
    return name.replace("->", "→").replace("_", " ")


def formula(text: str) -> Markup:
    """Write the counts of a chemical formula as subscripts."""
    return Markup(_COUNT.sub(r"<sub>\1</sub>", str(escape(escaped(text)))))


def visible(value: Any) -> Any:
    """Escape the hidden characters of all texts in a JSON-like value; markup is made of such."""
    if isinstance(value, str):
        return value if isinstance(value, Markup) else escaped(value)
    if isinstance(value, dict):
        return {visible(key): visible(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [visible(one) for one in value]
    return value


def json_of(value: Any, **options: Any) -> str:
    """Write a value as JSON for a script of the page, which shows its texts."""
    written = json.dumps(value, **options)
    # JSON in ASCII writes all that may be hidden with a backslash, but for one control character.
    is_plain = "\\" not in written and "\x7f" not in written
    return written if is_plain else json.dumps(visible(value), **options)


def size(num_bytes: int) -> str:
    """Write a number of bytes: ``64.0 MB``."""
    number = float(num_bytes)
    for name in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {name}" if name == "bytes" else f"{number:.1f} {name}"
        number /= 1000
    return f"{number:.1f} TB"


def count(number: int, name: str) -> str:
    """Write a number of things: ``1 seed``, ``12,345 results``."""
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def day(moment: datetime) -> str:
    """Give the date in UTC as ISO 8601."""
    return moment.astimezone(UTC).date().isoformat()


def moment(instant: datetime) -> str:
    """Give date and time in UTC."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def hardware(facts: dict[str, object]) -> str:
    """Describe a machine in a few words: ``1 x H200, 2 cores of AMD EPYC, 23.5 GiB``."""
    gpus = facts.get("gpus")
    names = [str(gpu) for gpu in gpus] if isinstance(gpus, list) else []
    parts = [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
    if facts.get("cpu"):
        parts.append(f"{facts.get('cores', '?')} cores of {facts['cpu']}")
    if facts.get("memory_gib"):
        parts.append(f"{facts['memory_gib']} GiB")
    return ", ".join(parts) or "not recorded"
