"""Answers questions in a process of its own, which alone loads networks and reads what is given.

The server starts it when the first question is asked (``searcher``). Nothing else imports torch
here, so a server that nobody asks stays small.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from omnimat.base.errors import UserError
from omnimat.base.filesystem import is_local
from omnimat.base.json_records import as_records
from omnimat.base.scratch import temporary_folder
from omnimat.base.workspace import EXPORT, Workspace
from omnimat.inference.model import Model, load
from omnimat.inference.package import Package
from omnimat.inference.shipped import shipped
from omnimat.materials.record import Record
from omnimat.search.encoders import Encoders
from omnimat.search.index import Index
from omnimat.search.materials import NAME, PREDICTED, under
from omnimat.search.read import read_words
from omnimat.search.screen import Criteria, Ranking, screened
from omnimat_dashboard.artifacts import Artifacts
from omnimat_dashboard.materials.indexes import Indexes
from omnimat_dashboard.search.question import Answer, Question

MODELS = "models"  # the folder of packed models in a storage


@dataclass(frozen=True)
class _Maker:
    """What made an index.

    Attributes:
        encoders: its encoders.
        model: the packed model that has them; None if a run has.
    """

    encoders: Encoders
    model: Model | None = None

    @classmethod
    def of(cls, model: Model) -> Self:
        """Take the encoders of a packed model."""
        return cls(model.networks.encoders, model)

    def predicted(self, path: str) -> Mapping[str, Any]:
        """Predict the properties of the crystal in a file, by the columns of an index."""
        if self.model is None or self.model.card.predictor is None:
            return {}
        (row,) = as_records(self.model.predict(path, progress=False))
        return under(PREDICTED, {name: cell for name, cell in row.items() if name != NAME})


def prepare(root: str, index: str) -> None:
    """Open an index and load the encoders that made it, so that an answer takes no longer.

    Raises:
        UserError: there is no such index, or no model that made it.
    """
    opened = _index(root, index)
    _maker_of(root, opened).encoders.load(opened.card.origin.modality)


def answer(root: str, question: Question, content: bytes | None) -> Answer:
    """Answer a question as ``omnimat screen`` does.

    Args:
        root: the storage.
        question: what is asked.
        content: bytes of the file that the question names; it lies in a folder of its own as long
            as it is read.

    Raises:
        UserError: the question or the file cannot be read.
    """
    index = _index(root, question.index)
    maker = _maker_of(root, index)
    criteria = Criteria(
        question.where or None,
        question.elements,
        question.exclude_elements,
        _number(question.stable),
    )
    with _query(question, content) as near:
        ranking = Ranking(
            near, question.modality or None, question.largest or None, question.smallest or None
        )
        found = screened(maker.encoders, index, criteria, ranking, question.top)
        predicted = maker.predicted(near) if isinstance(near, str) else {}
    return Answer(
        source=index.card.origin.source,
        num_chosen=found.num_chosen,
        num_materials=found.num_materials,
        notes=found.notes,
        columns=found.columns,
        hits=as_records(found.hits),
        predicted=predicted,
    )


@contextmanager
def _query(question: Question, content: bytes | None) -> Iterator[str | Record | None]:
    """Give what is searched for; words are never taken for the path of a file."""
    if content is None:
        yield read_words(question.near) if question.near else None
        return
    before = os.getcwd()
    with temporary_folder("search") as folder:
        # Messages name the file as its owner knows it, and not this folder.
        os.chdir(folder)
        try:
            (folder / question.file).write_bytes(content)
            yield question.file
        finally:
            os.chdir(before)


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise UserError(f"stable: {text!r} is no number; write eV/atom, such as 0.05") from None


@cache
def _indexes(root: str) -> Indexes:
    return Indexes(Artifacts(Workspace.open(root)))


def _index(root: str, name: str) -> Index:
    found = _indexes(root).open(name)
    if found.value is None:
        raise UserError(f"{name}: {found.reason}")
    return found.value


def _maker_of(root: str, index: Index) -> _Maker:
    origin = index.card.origin
    return _maker(root, origin.model, origin.encoder, origin.modality)


@cache
def _maker(root: str, model: str, encoder: str, modality: str) -> _Maker:
    """Find what made an index: a run, a package of the storage, or one that is shipped.

    Raises:
        UserError: none of them has this encoder.
    """
    for found in _candidates(Workspace.open(root), model):
        encoders = found.encoders
        if modality in encoders.cards and encoders.fingerprint_of(modality) == encoder:
            return replace(found, encoders=replace(encoders, load=cache(encoders.load)))
    raise UserError(
        f"the index was made by {model!r}, which is neither a run of this storage, nor a package "
        f"in its folder {MODELS}, nor shipped with omnimat: put its package into {root}/{MODELS}"
    )


def _candidates(workspace: Workspace, name: str) -> Iterator[_Maker]:
    if name in Artifacts(workspace).runs() and (workspace.run(name) / EXPORT).exists():
        yield _Maker(Encoders.of_run(name, workspace.run(name)))
    if shipped(name) is not None:
        yield _Maker.of(load(name, "cpu"))
    if not is_local(workspace.root):
        return
    for path in sorted(Path(workspace.root.path, MODELS).glob("*")):
        if _is_package_of(path, name):
            yield _Maker.of(load(path, "cpu"))


def _is_package_of(path: Path, name: str) -> bool:
    try:
        return Package(path).card.name == name
    except UserError:  # another file, or a damaged package
        return False
