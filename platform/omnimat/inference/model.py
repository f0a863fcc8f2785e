"""A model in the hand: it embeds crystals and predicts their properties."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from omnimat.base.errors import UserError
from omnimat.base.precision import Precision
from omnimat.inference.card import PackageCard
from omnimat.inference.columns import NAME
from omnimat.inference.features import ROWS_AT_A_TIME, featurized
from omnimat.inference.package import Package
from omnimat.inference.query import opened, query_of
from omnimat.inference.read import Columns, Given, in_chunks, read_all, watched
from omnimat.inference.shipped import located
from omnimat.inference.unpacked import Embeddings as Embeddings
from omnimat.inference.unpacked import Unpacked
from omnimat.modalities.layout import Featurizer
from omnimat.search.index import Index
from omnimat.search.search import search_index


class Model:
    """A packed model.

    Attributes:
        card: all that is known about it.
    """

    def __init__(
        self, package: Package, device: torch.device, precision: Precision | None = None
    ) -> None:
        """Use an open package on a device; ``load`` is the usual way to one."""
        self.card: PackageCard = package.card
        self._unpacked = Unpacked(package, device, precision)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that it can embed."""
        return tuple(self.card.encoders)

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        """Give the model itself, which nothing changes; scikit-learn copies what it clones."""
        return self

    def embed(
        self,
        inputs: Any,
        modality: str | None = None,
        *,
        columns: Columns | None = None,
        strict: bool = False,
        progress: bool = True,
    ) -> Embeddings:
        """Embed materials.

        A model that predicts embeds by the encoders of its first member, as they are after its
        training; to embed by pretrained encoders, package the pretraining run.

        Args:
            inputs: one of these, or several: a path or a glob of files, in any format that
                ``omnimat ingest`` reads; a table of materials, as a file or a
                ``pandas.DataFrame``; the folder of a data set, or ``dataset:NAME`` of the storage;
                a ``pymatgen`` structure; an ``ase.Atoms``; a formula; a sentence; or the parts of
                a material by their names (``{"xrd": MeasuredPattern(...)}``).
            modality: the modality whose encoder embeds them; by default the first that the model
                has (``modalities``).
            columns: which column of tables holds what, with the keys of ``docs/tables.md``
                (``{"structure": {"cif": "text"}, "id": "name"}``); by default that is told by
                names and values.
            strict: raise an error where a material cannot be embedded.
            progress: show a progress bar on a terminal, after two seconds.

        Raises:
            UserError: the model has no encoder of the modality; ``columns`` are wrong; or, if
                ``strict``, a material cannot be embedded.
        """
        chosen = self._unpacked.modality(modality)
        featurizers = self._unpacked.featurizers((chosen,))
        parts = [self._unpacked.embed(featurized([], [], featurizers), chosen)]
        for chunk in in_chunks(watched(read_all(inputs, columns), progress), ROWS_AT_A_TIME):
            parts.append(self._unpacked.embed(_featurized(chunk, featurizers), chosen))
            _insist(strict, parts[-1].names, parts[-1].notes)
        return Embeddings(
            names=[name for part in parts for name in part.names],
            vectors=np.concatenate([part.vectors for part in parts]),
            notes=[note for part in parts for note in part.notes],
        )

    def predict(
        self,
        inputs: Any,
        *,
        columns: Columns | None = None,
        strict: bool = False,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Predict the properties of materials.

        Args:
            inputs: as for ``embed``.
            columns: as for ``embed``.
            strict: raise an error where a material cannot be predicted.
            progress: show a progress bar on a terminal, after two seconds.

        Returns:
            A row for each material: ``name``; for each property its value under the name of the
            property, which holds its unit, and ``<name>_low`` and ``<name>_high``, between which
            the true value lies in the share of cases that the card says; for a class, its
            probability under ``<name>_probability``; ``distance`` from the training materials;
            ``notes``, which say why there is no value or why it may be worth less. The columns are
            the same whatever is given.

        Raises:
            UserError: the model only embeds; ``columns`` are wrong; or, if ``strict``, a material
                cannot be predicted.
        """
        featurizers = self._unpacked.featurizers(self._unpacked.predictor.network.modalities)
        given = watched(read_all(inputs, columns), progress)
        tables = []
        for chunk in in_chunks(given, ROWS_AT_A_TIME):
            found = self._unpacked.predict(_featurized(chunk, featurizers))
            _insist(strict, found.table[NAME], found.reasons)
            tables.append(found.table)
        if not tables:
            tables.append(self._unpacked.predict(featurized([], [], featurizers)).table)
        return pd.concat(tables, ignore_index=True)

    def search(
        self,
        query: Any,
        index: Index | str | os.PathLike[str],
        top: int = 10,
        *,
        modality: str | None = None,
    ) -> pd.DataFrame:
        """Find the materials of an index that are nearest to a query, exactly.

        Args:
            query: one path, formula, sentence, ``pymatgen`` structure or ``ase.Atoms``; it may be
                of another modality than the index.
            index: an index that this model made (``omnimat.index``), or its folder, which is then
                opened and checked anew.
            top: how many materials to find.
            modality: modality whose encoder reads the query, if it holds more than one.

        Returns:
            A row for each material, the nearest first, equally near ones in the order of their
            names: ``rank`` from 1, ``name``, ``reduced_formula``, ``space_group``,
            ``space_group_number``, ``crystal_system``, ``similarity`` (the cosine, from -1 to 1,
            to six decimals), and ``known.<property>`` and ``predicted.<property>``, whose names
            hold their units. ``attrs["notes"]`` says how what the encoder saw differs from what
            was given.

        Raises:
            UserError: the query cannot be read, the model has no encoder for it, or the index was
                made by another model or damaged.
        """
        (answer,) = search_index(
            self._unpacked.encoders, opened(index), [query_of(query)], modality=modality, top=top
        )
        return answer.hits

    @property
    def networks(self) -> Unpacked:
        """What it computes with: features in, embeddings and predictions out."""
        return self._unpacked


def load(
    path: str | os.PathLike[str],
    device: str | None = None,
    *,
    precision: Precision | None = None,
) -> Model:
    """Open a packed model.

    Args:
        path: folder or zip that ``omnimat package`` made, or the name of a model that comes with
            omnimat.
        device: where it runs (``cpu``, ``cuda:0``); by default on a GPU where there is one.
        precision: ``fp32``, or ``bf16``, which is faster where the device supports it and right to
            three digits; by default predictions are made in that of the training, and embeddings
            in ``fp32``.

    Raises:
        UserError: it is no packed model, its card is damaged, there is no such device, or no such
            precision. Weights are checked against the card when they are first needed.
    """
    if precision not in {None, *get_args(Precision)}:
        raise UserError(
            f"precision: {precision!r} is none of {', '.join(get_args(Precision))}; choose one"
        )
    return Model(Package(located(path)), _device(device), precision)


def _device(name: str | None) -> torch.device:
    gpus = [f"cuda:{place}" for place in range(torch.cuda.device_count())]
    chosen = name or ("cuda:0" if gpus else "cpu")
    if chosen not in {"cpu", *gpus, *(["cuda"] if gpus else [])}:
        raise UserError(
            f"device: {chosen!r} is not here; choose one of {', '.join(['cpu', *gpus])}"
        )
    return torch.device(chosen)


def _featurized(chunk: Sequence[Given], featurizers: Mapping[str, Featurizer]) -> pa.Table:
    return featurized([one.name for one in chunk], [one.record for one in chunk], featurizers)


def _insist(strict: bool, names: Iterable[str], reasons: Iterable[str]) -> None:
    bad = next(((n, r) for n, r in zip(names, reasons, strict=True) if r), None)
    if strict and bad:
        raise UserError(f"{bad[0]}: {bad[1]}")
