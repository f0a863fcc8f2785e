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
from omnimat.finetune.plan import trial_device
from omnimat.finetune.recompute import fold_of, tasks_of
from omnimat.finetune.trial import assemble
from omnimat.leaderboard.row import Row
from omnimat.materials.record import Record
from omnimat.modalities.batch import feature_table
from omnimat.modalities.layout import self_contained
from omnimat.models.export import Card
from omnimat.models.header import MisfitError, filled
from omnimat.models.inputs import featurizers_of
from omnimat.verification.evidence import Evidence
from omnimat.verification.outcome import Remark, UnreachableError, reached
from omnimat.verification.rerun import (
    Sample,
    check_again,
    checkpoint_of,
    records_in_order,
    tolerance_of,
)
from omnimat.verification.tables import read_table


class _Network(Settings):
    """What of a row's configuration decides the network."""

    cards: Mapping[str, Card]
    head: Annotated[HeadSettings, OneOf(HEADS)]


def rerun(row: Row, evidence: Evidence, sample: Sample) -> Iterator[Remark]:
    """Predict a sample again, and compare it with what was predicted before.

    Numbers are compared as the network gives them, in deviations of the target. Of classes, the
    predicted one must be among those that are most likely.

    Raises:
        UnreachableError: if the network cannot be built by this omnimat.
    """
    uri = checkpoint_of(row)
    trial, network = _trial(row, evidence), _network(row)
    model = _loaded(network, trial, evidence.data(uri, "checkpoint_uri"), uri)
    table = read_table(row, evidence)
    places = sample.of(len(table))
    chosen = table.iloc[places]
    ids = chosen["material_id"].to_numpy(dtype=np.str_)
    records = records_in_order(evidence.dataset(row), ids.tolist())
    names = list(tasks_of(row.config, fold_of(row.config)))
    outputs = _outputs(model, network, trial, records)
    start = sum(codec.num_outputs for codec in trial.codec.codecs[: names.index(row.task)])
    codec = trial.codec.codecs[names.index(row.task)]
    of_task = outputs[:, start : start + codec.num_outputs]
    off = _off(codec, of_task, chosen["prediction"].tolist())
    tolerance = tolerance_of(row, is_bf16=trial.settings.precision == "bf16")
    yield from check_again(row.predictions_uri, ids, off, tolerance, len(table))


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
    return model.to(trial_device())


def _outputs(
    model: PropertyModel, network: _Network, trial: TrialResult, records: Sequence[Record]
) -> NDArray[np.float32]:
    """Give the (n, num_outputs) outputs of the network."""
    featurizers = reached("config.cards", lambda: self_contained(featurizers_of(network.cards)))
    table = feature_table(records, featurizers)
    inputs = FeatureInputs(table, featurizers, trial_device())
    parts = apply_in_batches(model, inputs, len(records), trial.settings)
    found: NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
    return found


def _off(
    codec: TargetCodec, outputs: NDArray[np.float32], stored: list[Any]
) -> NDArray[np.float64]:
    """Say of n materials how far the (n, k) outputs are from those that were decoded before."""
    if isinstance(codec, Standardiser):
        before = codec.encode(np.array(stored, dtype=np.float64)).astype(np.float64)
        off = np.abs(outputs - before) / np.maximum(1, np.abs(before))
        worst: NDArray[np.float64] = off.max(axis=1)
        return worst
    places = codec.encode(np.array(stored, dtype=np.str_))
    told = np.where(places < 0, -np.inf, outputs[np.arange(len(outputs)), places])
    most = outputs.max(axis=1).astype(np.float64)
    short: NDArray[np.float64] = (most - told) / np.maximum(1, np.abs(most))
    return short
