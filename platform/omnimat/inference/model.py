"""A model in the hand: it embeds crystals and predicts their properties."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from tqdm import tqdm

from omnimat.base.errors import UserError
from omnimat.inference.card import PackageCard, Predictor
from omnimat.inference.columns import NOTES
from omnimat.inference.domain import Reference, notes
from omnimat.inference.network import BATCH_SIZE, Ensemble, Outputs, averaged
from omnimat.inference.package import REFERENCE, Package, encoder_file, member_file
from omnimat.inference.read import Given, in_chunks, read_all
from omnimat.inference.table import not_finite, table_of
from omnimat.materials.record import Record
from omnimat.modalities.batch import feature_table
from omnimat.modalities.layout import QUARANTINE_COLUMN, Featurizer, self_contained
from omnimat.models.embed import ExportedEncoder
from omnimat.models.header import MisfitError, filled
from omnimat.models.inputs import featurizers_of

_AT_A_TIME = 16 * BATCH_SIZE


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The embeddings of N materials.

    Attributes:
        names: what each was given as.
        vectors: (N, d) float32 of unit length; NaN where a material could not be embedded.
        notes: why it could not be; empty where it could.
    """

    names: list[str]
    vectors: NDArray[np.float32]
    notes: list[str]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Give the vectors, so that NumPy takes this for an array."""
        return np.array(self.vectors, dtype=dtype, copy=copy)


class Model:
    """A packed model.

    Attributes:
        card: all that is known about it.
    """

    def __init__(self, package: Package, device: torch.device) -> None:
        """Use an open package on a device; ``load`` is the usual way to one."""
        self.card: PackageCard = package.card
        self._package = package
        self._device = device
        self._encoders: dict[str, ExportedEncoder] = {}

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that it can embed."""
        return tuple(self.card.encoders)

    def embed(
        self, inputs: Any, modality: str | None = None, *, strict: bool = False
    ) -> Embeddings:
        """Embed materials.

        A model that predicts embeds by the encoders of its first member, as they are after its
        training; to embed by pretrained encoders, package the pretraining run.

        Args:
            inputs: one or several paths, globs, ``pymatgen`` structures, ``ase.Atoms``, formulas
                or sentences.
            modality: the modality whose encoder embeds them; by default the first that the model
                has (``modalities``).
            strict: raise an error where a material cannot be embedded.

        Raises:
            UserError: the model has no encoder of the modality; or, if ``strict``, a material
                cannot be embedded.
        """
        chosen = modality or self.modalities[0]
        if chosen not in self.card.encoders:
            raise UserError(
                f"modality: {self.card.name} has no encoder for {chosen!r}; choose one of "
                f"{', '.join(self.modalities)}"
            )
        encoder = self._encoder(chosen)
        names, vectors, reasons = [], [], []
        for chunk in in_chunks(read_all(inputs), _AT_A_TIME):
            table = _featurized(chunk, {chosen: encoder.featurizer})
            column = encoder.embed_table(table)
            values, present = column.values.numpy(), column.present.numpy()
            vectors.append(np.where(present[:, None], values, np.nan).astype(np.float32))
            names += [given.name for given in chunk]
            found = _reasons(table, present, chosen)
            _insist(strict, [given.name for given in chunk], found)
            reasons += found
        width = self.card.encoders[chosen].embedding_dim
        return Embeddings(
            names, np.concatenate([np.empty((0, width), np.float32), *vectors]), reasons
        )

    def predict(self, inputs: Any, *, strict: bool = False, progress: bool = False) -> pd.DataFrame:
        """Predict the properties of materials.

        Args:
            inputs: as for ``embed``.
            strict: raise an error where a material cannot be predicted.
            progress: show a progress bar.

        Returns:
            A row for each material: ``name``; for each property its value under the name of the
            property, which holds its unit, and ``<name>_low`` and ``<name>_high``, between which
            the true value lies in the share of cases that the card says; for a class, its
            probability under ``<name>_probability``; ``distance`` from the training materials;
            ``notes``, which say why there is no value or why it may be worth less. The columns are
            the same whatever is given.

        Raises:
            UserError: the model only embeds; or, if ``strict``, a material cannot be predicted.
        """
        if self.card.predictor is None:
            raise UserError(
                f"{self.card.name} only embeds; to predict, package the run of a finetune job"
            )
        given = tqdm(read_all(inputs), disable=not progress, unit=" crystals")
        predictor = self.card.predictor
        chunks = in_chunks(given, _AT_A_TIME)
        parts = [self._predict(chunk, predictor, strict) for chunk in chunks]
        return pd.concat(parts or [self._predict([], predictor, strict)], ignore_index=True)

    def outputs(self, table: pa.Table) -> Outputs:
        """Apply every member to a feature table whose rows have what they need."""
        return self._ensemble.outputs(table, self._featurizers)

    def _predict(self, chunk: Sequence[Given], predictor: Predictor, strict: bool) -> pd.DataFrame:
        table = _featurized(chunk, self._featurizers)
        present = _usable(table, self._featurizers, predictor)
        reasons = _reasons(table, present, " and ".join(predictor.network.modalities))
        names = [given.name for given in chunk]
        _insist(strict, names, reasons)
        rows = np.flatnonzero(present)
        outputs = self.outputs(table.take(pa.array(rows)))
        means = averaged(predictor.network.codec, outputs.values)
        distances = self._reference.distances(outputs.embeddings)
        for place, row in enumerate(rows.tolist()):
            record = chunk[row].record
            assert isinstance(record, Record)  # it has features
            unlike = notes(predictor.domain, record, float(distances[place]))
            reasons[row] = "; ".join(not_finite(predictor.predicted, means, place) + unlike)
        found = table_of(names, rows, predictor.predicted, means, distances)
        return found.assign(**{NOTES: reasons})

    def _encoder(self, modality: str) -> ExportedEncoder:
        if modality not in self._encoders:
            self._encoders[modality] = self._loaded_encoder(modality)
        return self._encoders[modality]

    def _loaded_encoder(self, modality: str) -> ExportedEncoder:
        card = self.card.encoders[modality]
        with self._fitting():
            module = filled(card.build, self._encoder_tensors(modality))
        self._featurizers_of((modality,))
        module = module.eval().to(self._device)
        return ExportedEncoder(self._package.place, card, module, self._device)

    def _encoder_tensors(self, modality: str) -> dict[str, torch.Tensor]:
        """Read the weights that embed: of several members, those of the first."""
        if self.card.predictor is None:
            return self._tensors(encoder_file(modality))
        prefix = f"encoder.{modality}."
        tensors = self._tensors(member_file(self.card.predictor.network.seeds[0]))
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }

    @cached_property
    def _ensemble(self) -> Ensemble:
        assert self.card.predictor is not None
        network = self.card.predictor.network
        with self._fitting():
            weights = [self._tensors(member_file(seed)) for seed in network.seeds]
            return Ensemble(network, self.card.encoders, weights, self._device)

    @cached_property
    def _reference(self) -> Reference:
        with self._fitting():
            tensors = self._tensors(REFERENCE)
            return Reference.of(tensors["mean"], tensors["whitening"], self._ensemble.width)

    def _tensors(self, name: str) -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = load_tensors(self._package.data(name))
        return tensors

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Raise an error that says in one sentence that card and weights do not belong together."""
        try:
            yield
        except (MisfitError, SafetensorError, KeyError, ValueError) as error:
            raise UserError(
                f"{self._package.place} is no whole model: its card and its weights do not belong "
                f"together ({' '.join(str(error).split())}); get the package again"
            ) from error

    @cached_property
    def _featurizers(self) -> dict[str, Featurizer]:
        assert self.card.predictor is not None
        return self._featurizers_of(self.card.predictor.network.modalities)

    def _featurizers_of(self, modalities: Sequence[str]) -> dict[str, Featurizer]:
        """Build the featurizers of encoders, none of which may open what the card only names."""
        with self._fitting():
            found = featurizers_of({name: self.card.encoders[name] for name in modalities})
        return dict(self_contained(found))


def load(path: str | os.PathLike[str], device: str | None = None) -> Model:
    """Open a packed model.

    Args:
        path: folder or zip that ``omnimat package`` made.
        device: where it runs (``cpu``, ``cuda:0``); by default on a GPU where there is one.

    Raises:
        UserError: it is no packed model, its card is damaged, or there is no such device. Weights
            are checked against the card when they are first needed.
    """
    return Model(Package(Path(path)), _device(device))


def _device(name: str | None) -> torch.device:
    gpus = [f"cuda:{place}" for place in range(torch.cuda.device_count())]
    chosen = name or ("cuda:0" if gpus else "cpu")
    if chosen not in {"cpu", *gpus, *(["cuda"] if gpus else [])}:
        raise UserError(
            f"device: {chosen!r} is not here; choose one of {', '.join(['cpu', *gpus])}"
        )
    return torch.device(chosen)


def _featurized(chunk: Sequence[Given], featurizers: dict[str, Featurizer]) -> pa.Table:
    return feature_table([given.record for given in chunk], featurizers)


def _usable(
    table: pa.Table, featurizers: dict[str, Featurizer], predictor: Predictor
) -> NDArray[np.bool_]:
    has = [
        table[f"{name}.{one.fields[0].name}"].is_valid().to_numpy()
        for name, one in featurizers.items()
    ]
    every = predictor.missing_modalities == "leave_out"
    usable: NDArray[np.bool_] = np.all(has, axis=0) if every else np.any(has, axis=0)
    return usable


def _reasons(table: pa.Table, present: NDArray[np.bool_], needed: str) -> list[str]:
    known = table[QUARANTINE_COLUMN].to_pylist()
    return [
        "" if is_present else reason or f"it has nothing to make {needed} of"
        for reason, is_present in zip(known, present, strict=True)
    ]


def _insist(strict: bool, names: Sequence[str], reasons: Sequence[str]) -> None:
    bad = next(((n, r) for n, r in zip(names, reasons, strict=True) if r), None)
    if strict and bad:
        raise UserError(f"{bad[0]}: {bad[1]}")
