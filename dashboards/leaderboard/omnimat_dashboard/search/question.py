"""What a user asks of an index, and what is answered; both travel between two processes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

MAX_TEXT = 2_000
MAX_TOP = 50
_TOPS = (10, 20, MAX_TOP)
_FORMULA = re.compile(r"(?:[A-Z][a-z]?|[\d.()\[\]])+")
_SYMBOL = re.compile(r"[A-Z][a-z]?")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, as the options of ``omnimat screen`` name it; what is absent is empty.

    Attributes:
        index: folder of the index in the storage.
        near: a formula or a sentence, to which the nearest come first.
        file: name of a file that was given in place of ``near``.
        modality: modality whose encoder reads the query, if it holds more than one.
        where: an expression over properties.
        elements: elements that all must contain.
        exclude_elements: elements that none may contain.
        stable: most energy above the hull in eV/atom, as it was typed.
        largest: property by which they are ordered, the largest first.
        smallest: the same, the smallest first.
        top: how many are wanted.
    """

    index: str = ""
    near: str = ""
    file: str = ""
    modality: str = ""
    where: str = ""
    elements: tuple[str, ...] = ()
    exclude_elements: tuple[str, ...] = ()
    stable: str = ""
    largest: str = ""
    smallest: str = ""
    top: int = _TOPS[0]

    @classmethod
    def of(cls, parameters: Sequence[tuple[str, str]]) -> Question:
        """Read the parameters of an address; ``elements`` may occur several times."""
        texts = {name: value[:MAX_TEXT].strip() for name, value in parameters}
        top = texts.get("top", "")
        order, _, key = texts.get("order", "").partition(":")
        return cls(
            index=texts.get("index", ""),
            near=texts.get("near", ""),
            file=texts.get("file", ""),
            modality=texts.get("modality", ""),
            where=texts.get("where", ""),
            elements=_symbols(parameters, "elements"),
            exclude_elements=_symbols(parameters, "exclude_elements"),
            stable=texts.get("stable", ""),
            largest=key if order == "largest" else "",
            smallest=key if order == "smallest" else "",
            top=int(top) if top in map(str, _TOPS) else _TOPS[0],
        )

    @property
    def order(self) -> str:
        """The order that is asked for, as addresses name it."""
        if self.largest:
            return f"largest:{self.largest}"
        return f"smallest:{self.smallest}" if self.smallest else ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked."""
        narrowing = (self.where, self.elements, self.exclude_elements, self.stable, self.order)
        return not any((self.near, self.file, *narrowing))

    @property
    def elements_asked(self) -> tuple[str, ...]:
        """The elements of a formula that is asked for; none if it is a sentence."""
        is_formula = _FORMULA.fullmatch(self.near) is not None
        return tuple(dict.fromkeys(_SYMBOL.findall(self.near))) if is_formula else ()

    def by_elements(self) -> Question:
        """Ask for the elements of a formula in place of the formula."""
        return replace(self, near="", elements=self.elements_asked)

    @property
    def tops(self) -> Sequence[int]:
        """How many may be asked for."""
        return _TOPS

    def address(self) -> str:
        """Write the question as the parameters of an address; a file is left out."""
        values = {
            "index": self.index,
            "near": self.near,
            "modality": self.modality,
            "where": self.where,
            "elements": ",".join(self.elements),
            "exclude_elements": ",".join(self.exclude_elements),
            "stable": self.stable,
            "order": self.order,
            "top": "" if self.top == _TOPS[0] else str(self.top),
        }
        return "?" + urlencode({name: value for name, value in values.items() if value})


@dataclass(frozen=True, slots=True)
class Answer:
    """The materials that were found.

    Attributes:
        source: what was searched.
        num_chosen: how many materials meet the criteria.
        num_materials: how many the index holds.
        notes: whole sentences on what is not known, or not as it was given.
        columns: properties by which they were chosen and ordered.
        hits: cells by the columns of ``omnimat.search.hits.hits_of``, the best first.
        predicted: what the model that made the index predicts of the crystal that was given, by
            the columns of an index; empty if it predicts nothing.
    """

    source: str
    num_chosen: int
    num_materials: int
    notes: Sequence[str]
    columns: Sequence[str]
    hits: Sequence[Mapping[str, Any]]
    predicted: Mapping[str, Any]


def _symbols(parameters: Sequence[tuple[str, str]], name: str) -> tuple[str, ...]:
    """Give the symbols of elements, in any number of parameters, with commas or blanks between."""
    texts = [value[:MAX_TEXT] for key, value in parameters if key == name]
    parts = " ".join(texts).replace(",", " ").split()
    return tuple(dict.fromkeys(parts))
