"""Predicted properties made again: the trial's network is run on records from the shards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from omnimat.base.confined import beside
from omnimat.base.registry import OneOf
from omnimat.base.settings import Settings
from omnimat.base.workspace import TRIAL
from omnimat.finetune.codec import ClassIndex, TargetCodec
from omnimat.finetune.examples import FeatureInputs, apply_in_batches
from omnimat.finetune.heads.head import HEADS, HeadSettings
from omnimat.finetune.model import PropertyModel
from omnimat.finetune.outcome import TrialResult
from omnimat.finetune.refit import Refitted, refitted
from omnimat.finetune.trial import assemble
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Record
from omnimat.modalities.batch import feature_table
from omnimat.modalities.layout import Featurizer, self_contained
from omnimat.models.export import Card
from omnimat.models.header import MisfitError, filled
from omnimat.models.inputs import featurizers_of
from omnimat.nn.devices import fastest_device
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import FaultError, Remark, UnreachableError, named, reached
from omnimat.verification.rerun import (
    Sample,
    check_again,
    checkpoint_of,
    records_in_order,
    tolerance_of,
)
from omnimat.verification.tables import read_table

_MAX_TIES = 0.01  # of the materials; more are no rounding, but a network that knows no difference


class _Network(Settings):
    """What of a row's configuration decides the network."""

    cards: Mapping[str, Card]
    head: Annotated[HeadSettings, OneOf(HEADS)]


def rerun(row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
    """Predict a sample again, and compare it with what was predicted before.

    Raises:
        FaultError: if the trial's targets are not those of the data set.
        UnreachableError: if the network cannot be built by this omnimat.
    """
    yield from check_made_again(row, [row], evidence, sample)


def check_made_again(
    row: Row, members: Sequence[Row], evidence: Evidence, sample: Sample
) -> Iterator[Remark]:
    """Predict a sample again with several networks, and compare their mean with the predictions.

    Numbers are compared in deviations of the data set's training targets. A predicted class must
    be the same, unless it is as likely as the other but for rounding.

    Args:
        row: names the predictions.
        members: the row of each network, of the same configuration.
        evidence: where the files are read from.
        sample: how many materials are predicted.

    Raises:
        FaultError: if a trial's targets are not those of the data set.
        UnreachableError: if a network cannot be built by this omnimat.
    """
    network = _network(row)
    featurizers = reached("config.cards", lambda: self_contained(featurizers_of(network.cards)))
    trained = [_trained(member, network, featurizers, evidence) for member in members]
    table = read_table(row, evidence)
    chosen = table.iloc[sample.of(len(table))]
    ids = chosen["material_id"].to_numpy(dtype=np.str_)
    records = records_in_order(evidence.dataset(row), ids.tolist())
    outputs = np.stack([one.outputs(featurizers, records, row.task) for one in trained])
    is_bf16 = trained[0].trial.settings.precision == "bf16"
    tolerance = tolerance_of(row, is_bf16=is_bf16)
    own, codec = trained[0].own.of(row.task), trained[0].codec(row.task)
    off = _off(own, codec, outputs, chosen["prediction"].tolist(), tolerance)
    yield from check_again(row.predictions_uri, ids, off, tolerance, len(table))


@dataclass(frozen=True, slots=True)
class _Trained:
    """A network as its trial left it, which was held against the data set.

    Attributes:
        trial: the result of the trial.
        own: what the data set says of its targets.
        model: the network.
    """

    trial: TrialResult
    own: Refitted
    model: PropertyModel

    def codec(self, task: str) -> TargetCodec:
        """Give the trial's map of a task."""
        return self.trial.codec.codecs[list(self.own.tasks).index(task)]

    def outputs(
        self, featurizers: Mapping[str, Featurizer], records: Sequence[Record], task: str
    ) -> NDArray[np.float32]:
        """Give the (n, k) outputs for a task."""
        inputs = FeatureInputs(feature_table(records, featurizers), featurizers, fastest_device())
        parts = apply_in_batches(self.model, inputs, len(records), self.trial.settings)
        found = torch.cat(parts).float().cpu().numpy()
        return self.trial.codec.parts(found)[list(self.own.tasks).index(task)]


def _trained(
    row: Row, network: _Network, featurizers: Mapping[str, Featurizer], evidence: Evidence
) -> _Trained:
    """Build the network of a row, and hold its trial against the data set.

    Raises:
        FaultError: if the trial's targets are not those of the data set.
        UnreachableError: if the network cannot be built by this omnimat.
    """
    uri = checkpoint_of(row)
    trial, path = _trial(row, evidence), beside(uri, TRIAL)
    own = refitted(row, evidence, featurizers, trial.settings.train_fraction)
    _check_precision(row, trial, path)
    if wrong := list(own.differing(trial.codec, trial.num_records["train"])):
        raise FaultError(f"{path}: the map of {named(wrong)} is not that of the training targets")
    model = _loaded(network, trial, evidence.data(uri, "checkpoint_uri"), uri)
    return _Trained(trial, own, model)


def _check_precision(row: Row, trial: TrialResult, path: str) -> None:
    """Hold the precision, which decides the tolerance, against what the row was configured with."""
    config = row.config
    key, said = "precision", trial.settings.precision
    allowed = config.get("grid", {}).get(key) or [config.get("trial", {}).get(key, said)]
    if said not in allowed:
        told = " or ".join(map(str, allowed))
        raise FaultError(f"{path}: {key} is {said}, config of the row says {told}")


def _trial(row: Row, evidence: Evidence) -> TrialResult:
    path = beside(row.checkpoint_uri, TRIAL)
    try:
        content = json.loads(evidence.data(path, "checkpoint_uri"))
        # Keys of another version are passed over.
        known = {key: content[key] for key in content.keys() & TrialResult.model_fields.keys()}
        return TrialResult.model_validate_json(json.dumps(known))
    except (ValueError, AttributeError) as error:
        raise UnreachableError(f"{path} was written by another version of omnimat") from error


def _network(row: Row) -> _Network:
    config = {key: row.config.get(key) for key in _Network.model_fields}
    try:
        return _Network.model_validate(config)
    except ValidationError as error:
        raise UnreachableError("config has no network that this omnimat can build") from error


def _loaded(network: _Network, trial: TrialResult, weights: bytes, uri: str) -> PropertyModel:
    (embedding_dim,) = {card.embedding_dim for card in network.cards.values()}

    def build() -> PropertyModel:
        encoders = {modality: card.build() for modality, card in network.cards.items()}
        num_outputs = trial.codec.num_outputs
        return assemble(encoders, embedding_dim, trial.settings, network.head, num_outputs)

    try:  # a row may describe a network that is far larger than its weights
        model = filled(build, load_tensors(weights))
    except (SafetensorError, MisfitError) as error:
        raise UnreachableError(f"{uri} does not fit the network that config describes") from error
    return model.to(fastest_device())


def _off(
    own: TargetCodec,
    codec: TargetCodec,
    outputs: NDArray[np.float32],
    stored: list[Any],
    tolerance: float,
) -> NDArray[np.float64]:
    """Say of n materials how far what is predicted now is from what was predicted before.

    Args:
        own: the map that was fitted on the data set.
        codec: the map of the trials, of the same kind.
        outputs: what the networks give: (networks, n, k).
        stored: the n predictions.
        tolerance: how far rounding goes.
    """
    if not isinstance(codec, ClassIndex):
        again = np.stack([codec.decode(one) for one in outputs]).mean(axis=0)
        before, now = (own.encode(np.array(one, dtype=np.float64)) for one in (stored, again))
        off = np.abs(now.astype(np.float64) - before) / np.maximum(1, np.abs(before))
        worst: NDArray[np.float64] = off.max(axis=1)
        return worst
    return _short(codec, codec.joint(outputs), np.array(stored, dtype=np.str_), tolerance)


def _short(
    codec: ClassIndex,
    outputs: NDArray[np.float32],
    stored: NDArray[np.str_],
    tolerance: float,
) -> NDArray[np.float64]:
    """Say how much less likely the (n,) stored classes are; more than a few ties count as wrong."""
    again, places = codec.decode(outputs), codec.encode(stored)
    odds = codec.log_odds(outputs)
    told = np.where(places < 0, -np.inf, odds[np.arange(len(odds)), places])
    most = odds.max(axis=1)
    off: NDArray[np.float64] = (most - told) / np.maximum(1, np.abs(most))
    is_other = stored != again
    is_tie = is_other & (off <= tolerance)
    if is_tie.sum() > max(1, _MAX_TIES * len(off)):
        off[is_other] = np.inf
    return np.where(is_other, off, 0.0)
