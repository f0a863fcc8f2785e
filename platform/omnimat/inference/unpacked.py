"""The networks of a packed model: features in, embeddings and predictions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from omnimat.base.errors import UserError
from omnimat.base.precision import Precision
from omnimat.base.words import shortened
from omnimat.finetune.averaging import Mean, averaged
from omnimat.finetune.model import autocast
from omnimat.inference.card import PackageCard, Predictor
from omnimat.inference.columns import NOTES
from omnimat.inference.domain import Reference, notes
from omnimat.inference.features import ATOMIC_NUMBERS, NUM_ATOMS, batches
from omnimat.inference.network import Ensemble, Outputs
from omnimat.inference.package import REFERENCE, Package, encoder_file, member_file
from omnimat.inference.table import not_finite, table_of
from omnimat.modalities.layout import ID_COLUMN, QUARANTINE_COLUMN, Featurizer, self_contained
from omnimat.models.embed import ExportedEncoder
from omnimat.models.header import MisfitError, filled
from omnimat.models.inputs import featurizers_of
from omnimat.search.encoders import Encoders

NOT_FINITE = "its embedding would not be finite"


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


@dataclass(frozen=True, slots=True)
class Predictions:
    """What is predicted for N materials.

    Attributes:
        table: N rows; see ``Model.predict``.
        reasons: why a material could not be predicted; empty where it could.
    """

    table: pd.DataFrame
    reasons: list[str]


class Unpacked:
    """The networks of an open package on a device; each is built when it is first needed.

    Attributes:
        card: all that is known about the model.
    """

    def __init__(
        self, package: Package, device: torch.device, precision: Precision | None = None
    ) -> None:
        """Use an open package on a device.

        Args:
            package: the package.
            device: where its networks run.
            precision: in which they run; None for that in which they were trained where they
                predict, and for fp32 where they embed.
        """
        self._precision = precision
        self.card: PackageCard = package.card
        self._package = package
        self._device = device
        self._encoders: dict[str, ExportedEncoder] = {}

    def modality(self, name: str | None) -> str:
        """Give the modality of this name, or the first that the model can embed.

        Raises:
            UserError: the model has no encoder of it.
        """
        chosen = name or next(iter(self.card.encoders))
        if chosen not in self.card.encoders:
            raise UserError(
                f"modality: {self.card.name} has no encoder for {chosen!r}; choose one of "
                f"{', '.join(self.card.encoders)}"
            )
        return chosen

    @property
    def predictor(self) -> Predictor:
        """What the card says of the networks that predict.

        Raises:
            UserError: the model only embeds.
        """
        if self.card.predictor is None:
            raise UserError(
                f"{self.card.name} only embeds; to predict, package the run of a finetune job"
            )
        return self.card.predictor

    def featurizers(self, modalities: Sequence[str]) -> dict[str, Featurizer]:
        """Build the featurizers of encoders, none of which may open what the card only names.

        Raises:
            UserError: one would, or the card is not whole.
        """
        with self._fitting():
            found = featurizers_of({name: self.card.encoders[name] for name in modalities})
            return dict(self_contained(found))

    @property
    def encoders(self) -> Encoders:
        """The encoders that embed, as searches and indexes know them.

        Raises:
            UserError: one would open what the card only names, or the card is not whole.
        """
        name, cards = self.card.name, self.card.encoders
        return Encoders(
            name, cards, self.featurizers(list(cards)), self._weights_sha256, self.encoder
        )

    def outputs(self, features: pa.Table) -> Outputs:
        """Apply every member to a feature table whose rows have what they need."""
        return self._ensemble.outputs(features, self._predicted_from)

    def embed(self, features: pa.Table, modality: str) -> Embeddings:
        """Embed N materials that are ``featurized``, at least for this modality.

        A material whose embedding would not be finite has none, and its note says so.
        """
        encoder = self.encoder(modality)
        vectors = np.full((len(features), encoder.card.embedding_dim), np.nan, np.float32)
        present = np.zeros(len(features), np.bool_)
        for rows in batches(features, {modality: encoder.featurizer}):
            with autocast(self._precision or "fp32", self._device):
                column = encoder.embed_unchecked(features.take(pa.array(rows)))
            present[rows] = column.present.numpy()
            vectors[rows[present[rows]]] = column.values.numpy()[present[rows]]
        is_finite = np.isfinite(vectors).all(axis=1)
        vectors[~is_finite] = np.nan
        notes = _reasons(features, present, modality)
        for row in np.flatnonzero(present & ~is_finite).tolist():
            notes[row] = NOT_FINITE
        return Embeddings(features[ID_COLUMN].to_pylist(), vectors, notes)

    def predict(self, features: pa.Table) -> Predictions:
        """Predict N materials that are ``featurized``, at least for all that the members take."""
        predictor = self.predictor
        present = _usable(features, self._predicted_from, predictor)
        reasons = _reasons(features, present, " and ".join(predictor.network.modalities))
        rows = np.flatnonzero(present)
        known = features.take(pa.array(rows))
        outputs = self.outputs(known)
        means = averaged(predictor.network.codec, outputs.values)
        distances = self._reference.distances(outputs.embeddings)
        names = features[ID_COLUMN].to_pylist()
        table = table_of(names, rows, predictor.predicted, means, distances)
        told = list(reasons)
        for row, note in zip(
            rows.tolist(), _notes(predictor, known, means, distances), strict=True
        ):
            told[row] = note
        return Predictions(table.assign(**{NOTES: told}), reasons)

    def encoder(self, modality: str) -> ExportedEncoder:
        """Give the encoder of a modality: of several members, that of the first."""
        if modality not in self._encoders:
            self._encoders[modality] = self._loaded_encoder(modality)
        return self._encoders[modality]

    def _loaded_encoder(self, modality: str) -> ExportedEncoder:
        card = self.card.encoders[modality]
        with self._fitting():
            module = filled(card.build, self._encoder_tensors(modality))
        self.featurizers((modality,))
        module = module.eval().to(self._device)
        return ExportedEncoder(self._package.place, card, module, self._device)

    def _encoder_tensors(self, modality: str) -> dict[str, torch.Tensor]:
        """Read the weights that embed."""
        tensors = self._tensors(self._weights_file(modality))
        if self.card.predictor is None:
            return tensors
        prefix = f"encoder.{modality}."
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }

    def _weights_sha256(self, modality: str) -> str:
        """Give the hash of the file that holds the weights that embed."""
        file = self._weights_file(modality)
        if file not in self.card.files:
            raise UserError(f"{self._package.place} names no {file}; the package is not whole")
        return self.card.files[file].sha256

    def _weights_file(self, modality: str) -> str:
        """Name the file of the weights that embed: of several members, that of the first."""
        if self.card.predictor is None:
            return encoder_file(modality)
        return member_file(self.card.predictor.network.seeds[0])

    @cached_property
    def _ensemble(self) -> Ensemble:
        network = self.predictor.network
        if self._precision is not None:
            network = network.model_copy(update={"precision": self._precision})
        with self._fitting():
            weights = [self._tensors(member_file(seed)) for seed in network.seeds]
            return Ensemble(network, self.card.encoders, weights, self._device)

    @cached_property
    def _reference(self) -> Reference:
        with self._fitting():
            tensors = self._tensors(REFERENCE)
            return Reference.of(tensors["mean"], tensors["whitening"], self._ensemble.width)

    @cached_property
    def _predicted_from(self) -> dict[str, Featurizer]:
        return self.featurizers(self.predictor.network.modalities)

    def _tensors(self, name: str) -> dict[str, torch.Tensor]:
        try:
            tensors: dict[str, torch.Tensor] = load_tensors(self._package.data(name))
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise MisfitError(f"{name} holds no tensors: {shortened(str(error))}") from error
        return tensors

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Raise an error that says in one sentence that card and weights do not belong together."""
        try:
            yield
        except (ArithmeticError, KeyError, ValueError) as error:
            raise UserError(
                f"{self._package.place} is no whole model: its card and its weights do not belong "
                f"together ({' '.join(str(error).split())}); get the package again"
            ) from error


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


def _notes(
    predictor: Predictor,
    features: pa.Table,
    means: Sequence[Mean],
    distances: NDArray[np.float64],
) -> Iterator[str]:
    """Say of each material that was predicted what makes its prediction worth less."""
    columns = (features[name].to_pylist() for name in (ATOMIC_NUMBERS, NUM_ATOMS))
    for place, (numbers, num_atoms) in enumerate(zip(*columns, strict=True)):
        unlike = notes(predictor.domain, numbers, num_atoms, float(distances[place]))
        yield "; ".join(not_finite(predictor.predicted, means, place) + unlike)
