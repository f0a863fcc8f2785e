"""Predicted properties made again: the trial's network is run on records from the shards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
from omnimat.finetune.codec import Standardiser, TargetCodec
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

    Numbers are compared in deviations of the data set's training targets. A predicted class must
    be the same, unless it is as likely as the other but for rounding.

    Raises:
        FaultError: if the trial's targets are not those of the data set.
        UnreachableError: if the network cannot be built by this omnimat.
    """
    uri = checkpoint_of(row)
    trial, network = _trial(row, evidence), _network(row)
    featurizers = reached("config.cards", lambda: self_contained(featurizers_of(network.cards)))
    own = refitted(row, evidence, featurizers, trial.settings.train_fraction)
    path = beside(uri, TRIAL)
    _check_precision(row, trial, path)
    if wrong := list(own.differing(trial.codec, trial.num_records["train"])):
        raise FaultError(f"{path}: the map of {named(wrong)} is not that of the training targets")
    model = _loaded(network, trial, evidence.data(uri, "checkpoint_uri"), uri)
    table = read_table(row, evidence)
    chosen = table.iloc[sample.of(len(table))]
    ids = chosen["material_id"].to_numpy(dtype=np.str_)
    records = records_in_order(evidence.dataset(row), ids.tolist())
    outputs = _of_task(_outputs(model, featurizers, trial, records), own, trial, row.task)
    tolerance = tolerance_of(row, is_bf16=trial.settings.precision == "bf16")
    off = _off(own.of(row.task), *outputs, chosen["prediction"].tolist(), tolerance)
    yield from check_again(row.predictions_uri, ids, off, tolerance, len(table))


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


def _outputs(
    model: PropertyModel,
    featurizers: Mapping[str, Featurizer],
    trial: TrialResult,
    records: Sequence[Record],
) -> NDArray[np.float32]:
    """Give the (n, num_outputs) outputs of the network."""
    inputs = FeatureInputs(feature_table(records, featurizers), featurizers, fastest_device())
    parts = apply_in_batches(model, inputs, len(records), trial.settings)
    found: NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
    return found


def _of_task(
    outputs: NDArray[np.float32], own: Refitted, trial: TrialResult, task: str
) -> tuple[TargetCodec, NDArray[np.float32]]:
    """Give the trial's map of a task, and the network's (n, k) outputs for it."""
    place = list(own.tasks).index(task)
    codec = trial.codec.codecs[place]
    start = sum(one.num_outputs for one in trial.codec.codecs[:place])
    return codec, outputs[:, start : start + codec.num_outputs]


def _off(
    own: TargetCodec,
    codec: TargetCodec,
    outputs: NDArray[np.float32],
    stored: list[Any],
    tolerance: float,
) -> NDArray[np.float64]:
    """Say of n materials how far the (n, k) outputs are from those that were decoded before.

    Args:
        own: the map that was fitted on the data set.
        codec: the trial's map of the same kind.
        outputs: what the network gives.
        stored: the n predictions.
        tolerance: how far rounding goes.
    """
    again = codec.decode(outputs)
    if isinstance(own, Standardiser):
        before, now = (own.encode(np.array(one, dtype=np.float64)) for one in (stored, again))
        off = np.abs(now.astype(np.float64) - before) / np.maximum(1, np.abs(before))
        worst: NDArray[np.float64] = off.max(axis=1)
        return worst
    return _short(codec, outputs, np.array(stored, dtype=np.str_), again, tolerance)


def _short(
    codec: TargetCodec,
    outputs: NDArray[np.float32],
    stored: NDArray[np.str_],
    again: NDArray[Any],
    tolerance: float,
) -> NDArray[np.float64]:
    """Say how much less likely the (n,) stored classes are; more than a few ties count as wrong."""
    places = codec.encode(stored)
    told = np.where(places < 0, -np.inf, outputs[np.arange(len(outputs)), places])
    most = outputs.max(axis=1).astype(np.float64)
    off: NDArray[np.float64] = (most - told) / np.maximum(1, np.abs(most))
    is_other = stored != again
    is_tie = is_other & (off <= tolerance)
    if is_tie.sum() > max(1, _MAX_TIES * len(off)):
        off[is_other] = np.inf
    return np.where(is_other, off, 0.0)
