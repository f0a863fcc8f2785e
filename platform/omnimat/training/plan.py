"""The plan of a pretraining run, which the driver works out and sends to every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.modalities.views import RandomViews
from omnimat.models.export import Card
from omnimat.shards.manifest import Manifest
from omnimat.stream.location import StoreLocation
from omnimat.stream.losses import Losses
from omnimat.stream.order import BatchPlan
from omnimat.stream.source import Source
from omnimat.stream.worker import Pipeline, WorkerStream
from omnimat.training.held_out import are_held_out, folders_of
from omnimat.training.settings import PretrainSettings


@dataclass(frozen=True)
class RunPlan:
    """The settings of a run and where its data lies; everything else follows from these.

    Attributes:
        name: name of the run.
        settings: settings of the run.
        dataset: folder that holds the shards and their manifest.
        store: feature store to read instead of the shards, or None.
        held_out: folder of each data set in ``settings.held_out``.
    """

    name: str
    settings: PretrainSettings
    dataset: UPath
    store: StoreLocation | None
    held_out: tuple[UPath, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the record index when pickling; every worker can read it."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @cached_property
    def manifest(self) -> Manifest:
        """The data set's manifest."""
        return Manifest.load(self.dataset)

    @cached_property
    def records(self) -> pd.DataFrame:
        """Index rows of the training split, without formulas that other data sets hold out."""
        records = self.manifest.records(self.dataset)
        held_out = zip(self.settings.held_out, self.held_out, strict=True)
        is_learned = (records["split"] == "train") & ~are_held_out(records, held_out)
        return records[is_learned].reset_index(drop=True)

    @cached_property
    def batches(self) -> BatchPlan:
        """The batches of the run, in the order of training.

        Raises:
            UserError: the training split is smaller than a batch.
        """
        training = self.settings.training
        if len(self.records) < training.global_batch_size:
            raise UserError(
                f"training.global_batch_size is {training.global_batch_size}, but data set "
                f"{self.settings.dataset!r} has {len(self.records)} training records; lower it"
            )
        return BatchPlan(
            record_shards=self.records["shard"].to_numpy(),
            global_batch_size=training.global_batch_size,
            num_epochs=training.num_epochs,
            seed=training.seed,
            window_shards=self.settings.stream.shuffle_window_shards,
            num_micro_batches=training.num_micro_batches,
            record_edges=self._num_edges,
            max_edges=training.max_edges_per_micro_batch,
        )

    @property
    def _num_edges(self) -> NDArray[np.int64]:
        """About how many edges each record has in all its views; 0 where no structure is known."""
        num_atoms = self.records["num_atoms"].fillna(0).to_numpy(dtype=np.int64)
        return self.settings.objective.num_views * self.settings.num_edges(num_atoms)

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps in an epoch."""
        return self.batches.steps_per_epoch

    @property
    def num_steps(self) -> int:
        """Number of optimizer steps of the run."""
        return self.batches.num_steps

    def is_checkpoint_step(self, step: int) -> bool:
        """Return whether a checkpoint is due once ``step`` steps are done, whatever the time."""
        training = self.settings.training
        intervals = [training.checkpoint_interval_steps]
        if training.checkpoint_interval_epochs is not None:
            intervals.append(training.checkpoint_interval_epochs * self.steps_per_epoch)
        return step == self.num_steps or any(n and step % n == 0 for n in intervals)

    def losses(self, quarantined: Mapping[str, str], kept_in: UPath) -> Losses:
        """Say how many of the training records the run had to do without.

        Args:
            quarantined: maps the ids of faulty materials to what is wrong with them.
            kept_in: file that lists them.
        """
        return Losses(quarantined, len(self.records), kept_in)

    def check_store(self) -> None:
        """Insist that the store, if one is read, has lost no more training records than is allowed.

        The store must be complete. What it lost of other records does no harm to the run.

        Raises:
            RunError: it has lost more.
        """
        if self.store is not None:
            lost = self.store.losses()
            own = set(self.records["material_id"])
            reasons = {key: why for key, why in lost.reasons.items() if key in own}
            self.losses(reasons, lost.kept_in).check(self.settings.max_quarantined)

    def num_rows(self, world_size: int) -> list[int]:
        """Count the rows of each worker in a step, in rank order; each view of a record is one."""
        num_views = self.settings.objective.num_views
        shares = self.batches.shares(world_size)
        return [num_views * sum(map(len, share)) for share in shares]

    def stream(self, rank: int, world_size: int, pipeline: Pipeline) -> WorkerStream:
        """Open the data stream of a worker."""
        modalities = self.settings.modalities
        views = RandomViews(
            num_views=self.settings.objective.num_views,
            seed=self.settings.training.seed,
            augmentations=modalities.augmentations(),
        )
        return WorkerStream(
            source=Source(
                self.dataset,
                None if self.store is None else self.store.folder,
                modalities.featurizers(),
                views,
            ),
            records=self.records,
            plan=self.batches,
            read_unit_bytes=int(self.settings.stream.read_unit_mib * 2**20),
            rank=rank,
            world_size=world_size,
            pipeline=pipeline,
        )

    def cards(self, step: int) -> dict[str, Card]:
        """Describe each encoder as it is after ``step`` steps."""
        featurizers = self.settings.modalities.featurizers()
        return {
            name: Card(
                modality=name,
                encoder=encoder.exported(),
                featurizer=featurizers[name].model_dump(mode="json"),
                embedding_dim=self.settings.embedding_dim,
                parent_run=self.name,
                config_hash=self.settings.fingerprint(),
                dataset_fingerprint=self.manifest.dataset_fingerprint,
                samples_seen=step * self.settings.training.global_batch_size,
                projected=self.settings.objective.num_heads > 1,
            )
            for name, encoder in self.settings.modalities.encoders().items()
        }


def make_plan(name: str, settings: PretrainSettings, workspace: Workspace) -> RunPlan:
    """Plan a run and refuse one that cannot succeed, without touching a cluster.

    Raises:
        UserError: the data set is missing, is too small, or lacks a modality.
    """
    store = None
    if settings.stream.read_from == "store":
        store = StoreLocation.of(workspace, settings.dataset, settings.modalities.featurizers())
    dataset = workspace.dataset(settings.dataset)
    held_out = folders_of(settings.held_out, workspace)
    plan = RunPlan(name, settings, dataset, store, held_out)
    _check_modalities(plan)
    _ = plan.batches
    return plan


def _check_modalities(plan: RunPlan) -> None:
    for modality, featurizer in plan.settings.modalities.featurizers().items():
        columns = list(featurizer.index_columns)
        if columns and not plan.records[columns].any(axis=None):
            needed = " or ".join(column.removeprefix("has_") for column in columns)
            raise UserError(
                f"modalities.{modality}: no training record of data set "
                f"{plan.settings.dataset!r} has {needed}; change the featurizer, remove this key, "
                "or ingest a source that has it"
            )
