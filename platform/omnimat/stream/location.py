"""Where a feature store lies, which follows from what it is made of before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.modalities.layout import Featurizer
from omnimat.shards.manifest import Manifest
from omnimat.stream.losses import Losses
from omnimat.stream.store import COMPLETE, FeatureStore, StoreCard, store_fingerprint


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """Where the features of a data set lie or will lie; small enough to send to any worker.

    Attributes:
        dataset: the folder of the shards and the manifest.
        folder: the folder of the feature store.
        featurizers: what the store is made with.
    """

    dataset: UPath
    folder: UPath
    featurizers: Mapping[str, Featurizer]

    @classmethod
    def of(cls, workspace: Workspace, dataset: str, featurizers: Mapping[str, Featurizer]) -> Self:
        """Name the store of a data set under these featurizers.

        Raises:
            UserError: the data set is not there.
        """
        directory = workspace.dataset(dataset)
        fingerprint = store_fingerprint(Manifest.load(directory), featurizers)
        return cls(directory, workspace.features(dataset, fingerprint), featurizers)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the data set."""
        return Manifest.load(self.dataset)

    @property
    def is_complete(self) -> bool:
        """Whether the store can be opened, and its files checked.

        Raises:
            UserError: its card is damaged.
        """
        card = StoreCard.read(self.folder)
        return card is not None and card.has_checksums

    def losses(self) -> Losses:
        """Say which records of the store are quarantined; it must be complete."""
        card = StoreCard.read(self.folder)
        assert card is not None
        return Losses(card.quarantined, card.num_records, self.folder / COMPLETE)

    def check_complete(self) -> None:
        """Insist that the store is complete.

        Raises:
            UserError: it is not.
        """
        if not self.is_complete:
            raise UserError(
                f"stream.read_from: {self.folder} is no complete feature store; run a featurize "
                f"job of data set {self.dataset.name!r} with the same featurizers first"
            )

    def open(self) -> FeatureStore:
        """Open the store, as ``FeatureStore.open`` does."""
        return FeatureStore.open(self.dataset, self.folder, self.featurizers)
