"""What all trials of a sweep share, worked out before any cluster is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import Workspace
from omnimat.finetune.examples import (
    Examples,
    Part,
    Usable,
    find_usable,
    read_examples,
    read_folds,
)
from omnimat.finetune.folds import Fold, FoldRule
from omnimat.finetune.heads.head import HeadSettings
from omnimat.finetune.settings import FinetuneSettings, MissingModalities
from omnimat.finetune.tasks import TaskSettings, check_shares
from omnimat.materials.split import SPLITS, Split
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.views import ArrayAugmentationSettings, StoredViews
from omnimat.models.export import Card
from omnimat.models.inputs import export_folder, featurizers_of
from omnimat.nn.devices import fastest_device
from omnimat.shards.manifest import Manifest
from omnimat.stream.location import StoreLocation
from omnimat.stream.store import FeatureStore, store_fingerprint
from omnimat.training.held_out import HeldOut, are_held_out, folders_of


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """What all trials of a sweep share.

    Attributes:
        store: where the features are that the encoders take.
        judging: where those of the test part are: the same, or of another data set.
        exports: the folder of each exported encoder.
        head: what maps the embeddings to outputs.
        missing_modalities: what becomes of a record that lacks a modality.
        tasks: what to predict.
        held_out: what other data sets keep for judging, and the folder of each.
        held_out_fingerprints: the fingerprints of these data sets, by name.
        augmentations: how stored features vary, by modality.
        fingerprint: a hash of all this by content; with another one, a trial is another trial.
        on_gpu: whether trials were given a GPU, or a part of one.
    """

    store: StoreLocation
    judging: StoreLocation
    exports: Mapping[str, UPath]
    head: HeadSettings
    missing_modalities: MissingModalities
    tasks: tuple[TaskSettings, ...]
    held_out: tuple[tuple[HeldOut, UPath], ...]
    held_out_fingerprints: Mapping[str, str]
    augmentations: Mapping[str, ArrayAugmentationSettings]
    fingerprint: str
    on_gpu: bool = False

    @property
    def device(self) -> torch.device:
        """Where a trial computes: Ray lets one without a GPU see those of others."""
        return fastest_device() if self.on_gpu else torch.device("cpu")

    def examples(
        self,
        split: Split,
        fold: Fold | None = None,
        fraction: float = 1.0,
        seed: int | None = None,
    ) -> Examples:
        """Read a split of the data set or of a fold, or a fraction of it, for this process.

        Args:
            split: which split.
            fold: the fold; None is the split of the data set.
            fraction: how much of it.
            seed: decides how features vary; None leaves them as they are stored.
        """
        store = self._store_of(split).open()
        usable = self._usable(store, split, fold)
        views = None
        if seed is not None and self.augmentations:
            views = StoredViews(self.augmentations, seed)
        return read_examples(store, self._featurizers, usable, self.device, fraction, views)

    def check_splits(self, folds: Sequence[Fold | None] = (None,)) -> None:
        """Find out before any training whether every split of every fold can be used.

        Args:
            folds: the folds; None is the split of the data set.

        Raises:
            UserError: if a split has no record with the modalities and the target of a task, or a
                task expects shares of other classes than there are to learn from.
        """
        stores = {split: self._store_of(split).open() for split in SPLITS}
        for fold in folds:
            for split, store in stores.items():
                usable = self._usable(store, split, fold)
                if split == "train":
                    check_shares(self.tasks, usable.targets)

    def material_ids(self, split: Split, fold: Fold | None = None) -> list[str]:
        """Give the ids of a split of the data set or of a fold, with a target or without."""
        ids: list[str] = self.records(split, fold)["material_id"].tolist()
        return ids

    def records(self, split: Split, fold: Fold | None = None) -> pd.DataFrame:
        """Give the index rows of a split, of records with a target or without."""
        store = self._store_of(split).open()
        return store.records[self._part(store, split, fold).is_in]

    def num_folds(self, rule: FoldRule) -> int:
        """Count the folds of the data set."""
        return len(read_folds(self.store.open(), rule).known)

    @property
    def stores(self) -> tuple[StoreLocation, ...]:
        """The stores that trials read, each once."""
        return (self.store,) if self.judging == self.store else (self.store, self.judging)

    def _store_of(self, split: Split) -> StoreLocation:
        return self.judging if split == "test" else self.store

    def _usable(self, store: FeatureStore, split: Split, fold: Fold | None) -> Usable:
        part = self._part(store, split, fold)
        return find_usable(store, self._featurizers, self.tasks, part, self.missing_modalities)

    def _part(self, store: FeatureStore, split: Split, fold: Fold | None) -> Part:
        """Find the records of a split; only the test part keeps those that are held out."""
        part = Part.of(store, split, fold)
        if split == "test" or not self.held_out:
            return part
        is_kept = ~are_held_out(store.records, self.held_out).to_numpy()
        return replace(part, is_in=part.is_in & is_kept)

    @property
    def _featurizers(self) -> dict[str, Featurizer]:
        return {modality: self.store.featurizers[modality] for modality in self.exports}


def make_plan(
    settings: FinetuneSettings, workspace: Workspace, cards: Mapping[str, Card]
) -> TrialPlan:
    """Work out what all trials share, without touching a cluster.

    If the feature store of the pretraining run is complete it is used, otherwise one with these
    modalities alone.

    Raises:
        UserError: if the data set is missing or the run has no encoder of a modality.
    """
    if missing := [modality for modality in settings.modalities if modality not in cards]:
        raise UserError(
            f"modalities: run {settings.run!r} has no encoder for {', '.join(missing)}; "
            f"choose among {', '.join(cards)}"
        )
    alone = featurizers_of({modality: cards[modality] for modality in settings.modalities})
    stores = {
        dataset: _store_of(dataset, workspace, (featurizers_of(cards), alone))
        for dataset in dict.fromkeys((settings.dataset, settings.judging_dataset))
    }
    store = stores[settings.dataset]
    settings.augmentation.check(alone)
    run = workspace.run(settings.run)
    exports = {modality: export_folder(run, modality) for modality in settings.modalities}
    folders = folders_of(settings.held_out, workspace)
    held_out = tuple(zip(settings.held_out, folders, strict=True))
    fingerprints = {
        one.dataset: Manifest.load(folder).dataset_fingerprint for one, folder in held_out
    }
    return TrialPlan(
        store=store,
        judging=stores[settings.judging_dataset],
        exports=exports,
        head=settings.head,
        missing_modalities=settings.missing_modalities,
        tasks=settings.tasks,
        held_out=held_out,
        held_out_fingerprints=fingerprints,
        augmentations=settings.augmentation.chosen(),
        fingerprint=fingerprint(
            {
                "features": store_fingerprint(store.manifest, alone),
                "exports": {name: sha256_of(folder) for name, folder in exports.items()},
                "network": settings.network(),
                **_held_out_by_content(settings.held_out, fingerprints),
            }
        ),
        on_gpu="GPU" in settings.trial_resources,
    )


def _held_out_by_content(
    held_out: Sequence[HeldOut], fingerprints: Mapping[str, str]
) -> dict[str, Any]:
    """Tell plans that hold out other materials apart; say nothing where nothing is held out."""
    told = sorted((fingerprints[one.dataset], one.splits) for one in held_out)
    return {"held_out": told} if told else {}


def _store_of(
    dataset: str, workspace: Workspace, wanted: Sequence[Mapping[str, Featurizer]]
) -> StoreLocation:
    """Name the first store that is complete, or the last of them."""
    stores = [StoreLocation.of(workspace, dataset, featurizers) for featurizers in wanted]
    return next((one for one in stores if one.is_complete), stores[-1])
