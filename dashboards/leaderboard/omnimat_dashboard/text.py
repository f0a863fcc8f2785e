"""Numbers, units, formulas and times as materials scientists write them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from omnimat.base.characters import escaped
from omnimat.leaderboard.board import Board

_SIGNS = (("angstrom", "Å"), ("degree", "°"), ("^2", "²"), ("^3", "³"))
_METRICS = {"mae": "MAE", "rmse": "RMSE", "nmae": "nMAE", "balanced_accuracy": "balanced accuracy"}
_FRACTIONS = ("accuracy", "balanced_accuracy", "top-", "hit rate")
_COUNT = re.compile(r"(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Scale:
    """How the values of a board are written.

    Attributes:
        metric: the name of the metric in words.
        unit: the unit as it is printed; empty if there is none.
        factor: by how much stored numbers are multiplied to be printed: 100 for a fraction.
        higher_is_better: whether a higher value is better.
    """

    metric: str
    unit: str
    factor: float
    higher_is_better: bool

    @classmethod
    def of(cls, board: Board) -> Scale:
        """Give the scale of a board; a fraction without a unit is printed in per cent."""
        is_fraction = not board.unit and board.metric.startswith(_FRACTIONS)
        return cls(
            metric=_METRICS.get(board.metric, board.metric),
            unit="%" if is_fraction else unit(board.unit),
            factor=100.0 if is_fraction else 1.0,
            higher_is_better=board.higher_is_better,
        )

    @property
    def label(self) -> str:
        """The metric and its unit: ``MAE (eV/atom)``."""
        return f"{self.metric} ({self.unit})" if self.unit else self.metric

    @property
    def arrow(self) -> str:
        """The direction that is better, as a sign."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def direction(self) -> str:
        """The direction that is better, in words."""
        return f"{'higher' if self.higher_is_better else 'lower'} is better"

    def number(self, value: float) -> str:
        """Write one stored value without its unit: four digits, or two decimals of per cent."""
        return f"{value * self.factor:.2f}" if self.unit == "%" else _plain(value)

    def score(self, mean: float, std: float | None) -> str:
        """Write a mean and a deviation, rounded to the two leading digits of the deviation."""
        if not std:
            return self.number(mean)
        return f"{self.rounded(mean, std)} ± {self.rounded(std, std)}"

    def rounded(self, value: float, spread: float | None) -> str:
        """Write a value to the two leading digits of a spread, if there is one."""
        if not spread or math.isinf(spread):
            return self.number(value)
        decimals = max(0, 1 - math.floor(math.log10(spread * self.factor)))
        return f"{value * self.factor:.{decimals}f}"


def unit(text: str) -> str:
    """Write a unit with its signs: ``angstrom^3/atom`` becomes ``Å³/atom``."""
    for name, sign in _SIGNS:
        text = text.replace(name, sign)
    return text


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


def _plain(value: float) -> str:
    """Write four significant digits, without an exponent where a person would not use one."""
    text = f"{value:.4g}"
    return f"{value:,.0f}" if "e+" in text and abs(value) < 1e7 else text
