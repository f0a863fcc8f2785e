"""The maps of a trial's targets, fitted again on the training targets of the proven data set.

``trial.json`` holds those that the trial has fitted, but no hash of a row covers that file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omnimat.finetune.codec import JointCodec, Standardiser, TargetCodec
from omnimat.finetune.examples import part_of
from omnimat.finetune.recompute import fold_of, tasks_of, texts_of
from omnimat.finetune.rows import HELD_OUT_BY, TRAINED_ON
from omnimat.finetune.tasks import TaskSettings, read_targets
from omnimat.leaderboard.row import Row
from omnimat.modalities.layout import Featurizer
from omnimat.shards.manifest import are_among
from omnimat.training.held_out import HeldOut
from omnimat.verification.dataset import CheckedDataset
from omnimat.verification.evidence import Evidence
from omnimat.verification.left_out import Needs, likely
from omnimat.verification.outcome import UnreachableError, blamed_on

_ROUNDING = 1e-6  # of a deviation


@dataclass(frozen=True, slots=True)
class Refitted:
    """What the data set says of a trial's targets.

    Attributes:
        tasks: the tasks by their names on the leaderboard.
        codec: the maps fitted on the training records that have a target and, by the index, the
            modalities.
        num_records: how many records these are.
    """

    tasks: Mapping[str, TaskSettings]
    codec: JointCodec
    num_records: int

    def of(self, task: str) -> TargetCodec:
        """Give the map of one task."""
        return self.codec.codecs[list(self.tasks).index(task)]

    def differing(self, told: JointCodec, num_records: int) -> Iterator[str]:
        """Name the tasks whose map is not that of the data set.

        Where a featurizer has failed for some records, these were not trained on. Then the maps
        must be of one kind, but numbers may differ.

        Args:
            told: the maps that the trial claims.
            num_records: on how many records it claims to have trained.
        """
        if num_records > self.num_records:  # it learned from what it should not have
            yield from self.tasks
            return
        is_whole = num_records == self.num_records
        pairs = zip(self.codec.codecs, told.codecs, strict=False)
        is_alike = [_is_alike(own, other, is_whole=is_whole) for own, other in pairs]
        alike = [*is_alike, *[False] * (len(self.tasks) - len(is_alike))]
        yield from (name for name, one in zip(self.tasks, alike, strict=True) if not one)


def refitted(
    row: Row, evidence: Evidence, featurizers: Mapping[str, Featurizer], train_fraction: float
) -> Refitted:
    """Fit the maps of a row's tasks, once for all rows that share them.

    Raises:
        FaultError: if the tasks do not fit the data set.
        UnreachableError: if a record cannot be read, or no training record has a target.
    """
    tasks = tasks_of(row.config, fold_of(row.config))
    needs: Needs = "any" if row.config.get("missing_modalities") == "fuse" else "all"
    key = ("codec", row.dataset_uri, row.dataset, row.config_hash, train_fraction)
    return evidence.remembered(
        key, lambda: _refitted(row, evidence, tasks, featurizers, needs, train_fraction)
    )


def _refitted(
    row: Row,
    evidence: Evidence,
    tasks: Mapping[str, TaskSettings],
    featurizers: Mapping[str, Featurizer],
    needs: Needs,
    train_fraction: float,
) -> Refitted:
    dataset = _trained_on(row, evidence)
    texts = texts_of(dataset, fold_of(row.config), evidence, "train")
    has = set(likely(dataset, list(texts), featurizers, needs)) - _held_out(row, dataset, evidence)
    with blamed_on("config does not fit the data set"):
        properties = [text for one, text in texts.items() if one in has]
        targets = [read_targets(properties, task) for task in tasks.values()]
    kept = np.flatnonzero(np.any([one.is_known for one in targets], axis=0))
    kept = kept[part_of(len(kept), train_fraction)]
    train = [one[kept] for one in targets]
    if not all(one.is_known.any() for one in train):
        raise UnreachableError("no training record of the data set has the target of a task")
    with blamed_on("config does not fit the data set"):
        codec = JointCodec.fit(list(tasks.values()), train)
    return Refitted(tasks, codec, len(kept))


def _trained_on(row: Row, evidence: Evidence) -> CheckedDataset:
    """Prove the data set that a row was trained on, where another one judges it."""
    wanted = row.config.get(TRAINED_ON)
    if wanted is None:
        return evidence.dataset(row)
    name = str(row.config.get("dataset"))
    found = evidence.dataset(row.model_copy(update={"dataset": name, "dataset_uri": ""}))
    if found.faults or found.manifest.dataset_fingerprint != wanted:
        raise UnreachableError(f"data set {name} is not the one that the row was trained on")
    return found


def _held_out(row: Row, dataset: CheckedDataset, evidence: Evidence) -> set[str]:
    """Name the materials that other data sets keep for judging, from which no trial learns."""
    found: set[str] = set()
    fingerprints = row.config.get(HELD_OUT_BY, {})  # an older omnimat pins down none
    for told in row.config.get("held_out", ()):
        with blamed_on("config.held_out is wrong"):
            one = HeldOut.model_validate(told)
            wanted = dict(fingerprints).get(one.dataset)
        other = evidence.dataset(row.model_copy(update={"dataset": one.dataset, "dataset_uri": ""}))
        if other.faults or wanted not in {None, other.manifest.dataset_fingerprint}:
            raise UnreachableError(f"data set {one.dataset}, which held_out names, has changed")
        kept = other.index[other.index["split"].isin(one.splits)]
        found.update(dataset.index["material_id"][are_among(dataset.index, kept)])
    return found


def _is_alike(own: TargetCodec, told: TargetCodec, *, is_whole: bool) -> bool:
    if isinstance(own, Standardiser) and isinstance(told, Standardiser):
        if own.transform != told.transform or np.shape(own.mean) != np.shape(told.mean):
            return False
        return not is_whole or all(_is_near(own, told, key) for key in ("mean", "std"))
    if isinstance(own, Standardiser) or isinstance(told, Standardiser):
        return False
    if bool(own.log_ratios) != bool(told.log_ratios):
        return False
    if not is_whole:
        return _is_part(told.labels, own.labels)
    if (own.labels, own.most_frequent) != (told.labels, told.most_frequent):
        return False
    return bool((np.abs(np.subtract(own.log_ratios, told.log_ratios)) <= _ROUNDING).all())


def _is_near(own: Standardiser, told: Standardiser, key: str) -> bool:
    off = np.subtract(getattr(own, key), getattr(told, key)) / np.asarray(own.std)
    return bool((np.abs(off) <= _ROUNDING).all())


def _is_part(labels: Sequence[str], of: Sequence[str]) -> bool:
    return set(labels) <= set(of) and len(set(labels)) == len(labels)
