"""The page of a search: what can be asked of which index, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from markupsafe import Markup

from omnimat.base.errors import RunError, UserError
from omnimat.modalities.registry import MODALITIES
from omnimat.search.card import IndexCard
from omnimat.search.cells import group, similarity, with_interval
from omnimat.search.hits import SIMILARITY
from omnimat.search.materials import KNOWN, NAME, PREDICTED
from omnimat_dashboard.materials.indexes import Listed
from omnimat_dashboard.materials.page import Materials
from omnimat_dashboard.materials.predicted import Foretold, foretold, remarks
from omnimat_dashboard.materials.quantities import parted
from omnimat_dashboard.periodic_table import Cell, periodic_table
from omnimat_dashboard.search.question import Answer, Question
from omnimat_dashboard.search.searcher import MAX_FILE_BYTES, Searcher

MAX_FACTS = 4  # of a hit, where nothing else decides what is shown
_ENDS = ("_low", "_high", "_probability")
_REMARKS = {f"{PREDICTED}notes", f"{PREDICTED}distance"}


@dataclass(frozen=True, slots=True)
class Hit:
    """A material that was found.

    Attributes:
        name: its name in the index.
        formula: its formula; empty where none is known.
        group: its space group; empty where it is not known.
        similarity: as text; empty if nothing was searched for.
        picture: its crystal; None where none is at hand.
        facts: label, value with its interval, and unit of some properties.
    """

    name: str
    formula: str
    group: str
    similarity: str
    picture: Markup | None
    facts: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A question, and its answer.

    Attributes:
        question: what is asked.
        indexes: the indexes that can be asked.
        elements: the periodic table.
        properties: numbers by which the index can be ordered.
        answer: what was found; None if nothing was asked, or nothing can be said.
        dataset: the data set of the storage to which the materials belong; None if there is none.
        hits: the materials that were found.
        foretold: what the model that made the index predicts of the crystal that was given.
        remarks: its notes on these predictions.
        error: why there is no answer; empty if there is one, or nothing was asked.
    """

    question: Question
    indexes: Sequence[Listed]
    elements: Sequence[Cell]
    properties: Sequence[str]
    answer: Answer | None
    dataset: str | None
    hits: Sequence[Hit]
    foretold: Sequence[Foretold]
    remarks: str
    error: str

    @property
    def modalities(self) -> Sequence[str]:
        """The modalities by which a user may ask."""
        known = MODALITIES.load_all().values()
        return [one.name for one in known if one.query is not None]

    @property
    def max_file_bytes(self) -> int:
        """How large a file may be."""
        return MAX_FILE_BYTES

    @property
    def chosen(self) -> Listed | None:
        """The index that is asked."""
        return next((one for one in self.indexes if one.name == self.question.index), None)


@dataclass(frozen=True, slots=True)
class _About:
    """What an index can be asked, and where its materials are."""

    card: IndexCard | None
    elements: Sequence[Cell]
    properties: Sequence[str]
    dataset: str | None


class Search:
    """Searches of one storage."""

    def __init__(self, materials: Materials, root: str) -> None:
        """Search the indexes of a storage, and show materials of its data sets."""
        self._materials = materials
        self._searcher = Searcher(root)
        self._known: dict[str, _About] = {}

    def page(self, question: Question, content: bytes | None = None) -> SearchPage:
        """Answer a question; without an index it is asked of the first one."""
        listed = self._materials.indexes.listed()
        names = [one.name for one in listed]
        if not question.index and names:
            question = replace(question, index=names[0])
        answer, error = None, ""
        if question.index and question.index not in names:
            error = "there is no such index in this storage; choose one of the list"
        elif question.index and not question.is_empty:
            answer, error = self._ask(question, content)
        about = self._about(next((one for one in listed if one.name == question.index), None))
        return SearchPage(
            question=question,
            indexes=listed,
            elements=about.elements,
            properties=about.properties,
            answer=answer,
            dataset=about.dataset,
            hits=[] if answer is None else self._hits(answer, about.dataset),
            foretold=[] if answer is None else foretold(answer.predicted),
            remarks="" if answer is None else remarks(answer.predicted),
            error=error,
        )

    def _ask(self, question: Question, content: bytes | None) -> tuple[Answer | None, str]:
        try:
            return self._searcher.answer(question, content), ""
        except (UserError, RunError) as error:
            return None, str(error)

    def _about(self, listed: Listed | None) -> _About:
        """Say what an index can be asked, once as long as it stays the same."""
        opened = None if listed is None else self._materials.indexes.open(listed.name).value
        if listed is None or opened is None:
            return _About(None, periodic_table(pd.Series([], dtype=str)), [], None)
        known = self._known.get(listed.name)
        if known is None or known.card != opened.card:
            source, names = opened.card.origin.source, opened.materials[NAME]
            self._known[listed.name] = known = _About(
                card=opened.card,
                elements=periodic_table(_formulas(opened.materials)),
                properties=_numbers(opened.materials),
                dataset=self._materials.records.holding(names.tolist(), source),
            )
        return known

    def _hits(self, answer: Answer, dataset: str | None) -> list[Hit]:
        pictures = self._materials.pictures(dataset, [one[NAME] for one in answer.hits])
        return [_hit(one, pictures.get(one[NAME]), answer.columns) for one in answer.hits]


def _hit(cells: Any, picture: Markup | None, columns: Sequence[str]) -> Hit:
    shown = [*columns] or [one for one in cells if _is_value(one)][-MAX_FACTS:]
    return Hit(
        name=cells[NAME],
        formula=cells["reduced_formula"] or "",
        group=group(cells) or "",
        similarity=similarity(cells) if SIMILARITY in cells else "",
        picture=picture,
        facts=[_fact(cells, one) for one in shown],
    )


def _fact(cells: Any, column: str) -> tuple[str, str, str]:
    """Write a property as the terminal does, its label and unit apart."""
    bare = column.removeprefix(KNOWN).removeprefix(PREDICTED)
    label, unit = parted(bare)
    source = "predicted " if column.startswith(PREDICTED) else ""
    return f"{source}{label}", with_interval(cells, column), unit


def _is_value(column: str) -> bool:
    is_one = column.startswith((KNOWN, PREDICTED)) and column not in _REMARKS
    return is_one and not column.endswith(_ENDS)


def _formulas(materials: pd.DataFrame) -> pd.Series[str]:
    if "reduced_formula" not in materials:
        return pd.Series([], dtype=str)
    return materials["reduced_formula"].dropna().astype(str)


def _numbers(materials: pd.DataFrame) -> list[str]:
    """Name the properties that are numbers, each once."""
    names = [str(one) for one in materials if _is_value(str(one)) and materials[one].dtype == float]
    bare = (one.removeprefix(KNOWN).removeprefix(PREDICTED) for one in names)
    return list(dict.fromkeys(bare))
