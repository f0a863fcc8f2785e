"""What a model says of featurized materials, as a table whose columns the card alone decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from omnimat.base.errors import UserError
from omnimat.finetune.codec import ClassIndex
from omnimat.inference.card import Predictor
from omnimat.inference.columns import DISTANCE, NAME, NOTES, columns_of
from omnimat.inference.parts import stamped
from omnimat.inference.unpacked import Embeddings, Unpacked
from omnimat.modalities.layout import ID_COLUMN, Featurizer
from omnimat.prediction.featurizing import told_of
from omnimat.prediction.settings import Wanted

EMBEDDING = "embedding"

Reasons = tuple[tuple[str, str], ...]
"""Ids of quarantined materials, and what is wrong with them, in the order of the input."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What is said of N materials.

    Attributes:
        table: a row for each of those that the model can take, in their order.
        quarantined: the others.
    """

    table: pa.Table
    quarantined: Reasons


class Asked:
    """A model, and what is asked of it."""

    def __init__(self, unpacked: Unpacked, wanted: Wanted, modality: str | None) -> None:
        """Ask a model.

        Args:
            unpacked: its networks.
            wanted: what is asked; for an index it predicts if it can.
            modality: the modality whose encoder embeds; None for the first that the model has.

        Raises:
            UserError: it only embeds, has no encoder of the modality, or predicts a property
                whose column would be there twice.
        """
        self._unpacked = unpacked
        self._is_for_index = wanted == "index"
        only_embeds = self._is_for_index and unpacked.card.predictor is None
        is_silent = wanted == "embeddings" or only_embeds
        self._predictor = None if is_silent else unpacked.predictor
        self._modality = None if wanted == "predictions" else unpacked.modality(modality)
        self._told = tuple(told_of(wanted))
        self._encoder = self._modality and unpacked.encoders.fingerprint_of(self._modality)
        self._schema = self._columns()

    @property
    def featurizers(self) -> dict[str, Featurizer]:
        """The featurizers of all that is needed."""
        predicted = () if self._predictor is None else self._predictor.network.modalities
        embedded = () if self._modality is None else (self._modality,)
        return self._unpacked.featurizers(tuple(dict.fromkeys([*predicted, *embedded])))

    def answer(self, features: pa.Table) -> Answers:
        """Answer for N materials that are ``featurized`` by these featurizers.

        Of a material for which one of two answers is missing the other is given, with a note; an
        index leaves out what has no embedding.
        """
        ids = features[ID_COLUMN].to_pylist()
        table = pd.DataFrame({ID_COLUMN: ids, NOTES: ""})
        reasons: list[Sequence[str]] = []
        if self._predictor is not None:
            found = self._unpacked.predict(features)
            table = found.table.rename(columns={NAME: ID_COLUMN})
            reasons.append(found.reasons)
        if self._modality is not None:
            embedded = self._unpacked.embed(features, self._modality)
            table[EMBEDDING] = pd.Series(_cells(embedded), table.index, object)
            table[NOTES] = _both(table[NOTES].tolist(), embedded.notes)
            reasons.append(embedded.notes)
        for name in self._told:
            table[name] = features[name].to_pylist()
        if self._is_for_index:
            reasons = reasons[-1:]
        is_bad = np.array([all(each) for each in zip(*reasons, strict=True)], np.bool_)
        rows = pa.Table.from_pandas(table[~is_bad], self._schema, preserve_index=False)
        why = reasons[0] if self._is_for_index else table[NOTES].tolist()
        bad = [(ids[row], why[row]) for row in np.flatnonzero(is_bad).tolist()]
        rows = rows.replace_schema_metadata(None)
        if self._encoder is not None:
            rows = stamped(rows, self._encoder)
        return Answers(rows, tuple(bad))

    def _columns(self) -> pa.Schema:
        """Give the columns of the table: id, formula, predictions, distance, embedding, notes."""
        columns = [(name, pa.string()) for name in (ID_COLUMN, *self._told)]
        if self._predictor is not None:
            columns += [*_predicted_columns(self._predictor), (DISTANCE, pa.float64())]
        if self._modality is not None:
            columns.append((EMBEDDING, pa.list_(pa.float32())))
        names = [name for name, _ in columns]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(
                f"output: the table would have two columns {twice[0]!r}, since the model predicts "
                "a property of this name; ask for predictions alone, or package another run"
            )
        return pa.schema([*columns, (NOTES, pa.string())])


def _predicted_columns(predictor: Predictor) -> list[tuple[str, pa.DataType]]:
    columns = []
    codecs = predictor.network.codec.codecs
    for one, codec in zip(predictor.predicted, codecs, strict=True):
        value, *others = columns_of(one.task, has_interval=one.calibration is not None)
        if isinstance(codec, ClassIndex):
            kind = pa.string()
        else:
            kind = pa.list_(pa.float64()) if isinstance(codec.mean, tuple) else pa.float64()
        columns += [(value, kind), *((name, pa.float64()) for name in others)]
    return columns


def _cells(embedded: Embeddings) -> list[object]:
    pairs = zip(embedded.vectors, embedded.notes, strict=True)
    return [None if note else vector for vector, note in pairs]


def _both(notes: Sequence[str], of_embedding: Sequence[str]) -> list[str]:
    return [
        "; ".join(dict.fromkeys(filter(None, pair)))
        for pair in zip(notes, of_embedding, strict=True)
    ]
